//! The operator's own files: `config.toml` and plan drafts. A file in a directory that another user can write is not
//! trusted, and `sudo -E` and `su -m` leave HOME and XDG_* as they were. As root we therefore write only below root's
//! own home, and read elsewhere only small regular files that belong to root or to the user who called sudo, showing
//! where they came from. Nothing here blocks.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, open, openat, readlinkat, statat};

use super::files;
use crate::model::{FileOrigin, Whose};

/// The machine's settings.
const MACHINE: &str = "/etc/portcullis/config.toml";

/// The largest personal file that is read, in bytes.
pub const LARGEST_PERSONAL: u64 = 1 << 20;

/// At most this many links on one path, as in the kernel (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// A file, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its content; invalid UTF-8 is replaced.
    pub text: String,
    /// Its origin.
    pub origin: FileOrigin,
}

/// A directory of ours, and one named by the environment that another user controls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place {
    own: Option<PathBuf>,
    other: Option<PathBuf>,
}

/// Where the operator's files are.
#[derive(Clone, Debug)]
pub struct Personal {
    config: Place,
    data: Place,
    me: u32,
    /// The user id of the caller of sudo.
    caller: Option<u32>,
    /// The text of `/etc/passwd`.
    users: String,
}

impl Personal {
    /// For this process: its user, its environment and `/etc/passwd`.
    pub fn here() -> Self {
        let users = files::read_any(Path::new("/etc/passwd"))
            .map(|b| String::from_utf8_lossy(&b).into_owned())
            .unwrap_or_default();
        let named = directories::ProjectDirs::from("", "", "portcullis");
        let named = named.map(|d| (d.config_dir().to_owned(), d.data_dir().to_owned()));
        let var = |name| std::env::var(name).ok();
        let caller = var("SUDO_UID")
            .and_then(|u| u.parse().ok())
            .or_else(|| user(&users, |name, _| Some(name) == var("SUDO_USER").as_deref()).map(|u| u.1));
        Self::of(rustix::process::geteuid().as_raw(), named, caller, users)
    }

    /// `named`: the directories named by the environment, for settings and for data.
    fn of(me: u32, named: Option<(PathBuf, PathBuf)>, caller: Option<u32>, users: String) -> Self {
        let root = me == 0;
        let home = user(&users, |name, uid| uid == me && (!root || name == "root"))
            .or_else(|| user(&users, |_, uid| uid == me))
            .map(|u| u.2);
        let home = home.map(PathBuf::from).or_else(|| root.then(|| "/root".into()));
        let place = |named: Option<PathBuf>, below: &str| match named {
            // Unless we are root, nobody gains anything by planting a file for us.
            Some(dir) if !root || is_roots_alone(&dir) => Place { own: Some(dir), other: None },
            named => {
                let own = home.as_ref().map(|h| h.join(below).join("portcullis"));
                Place { other: named.filter(|n| own.as_ref() != Some(n)), own }
            }
        };
        let (config, data) = named.unzip();
        Self {
            config: place(config, ".config"),
            data: place(data, ".local/share"),
            me,
            caller: caller.filter(|_| root),
            users,
        }
    }

    /// The settings, the strongest last: the machine's, then the operator's own or, without those, the ones named by
    /// the environment. The error is a sentence.
    pub fn settings(&self) -> Vec<Result<Found, String>> {
        let machine = match self.read(Path::new(MACHINE), true) {
            // The machine's settings need not be readable for everybody.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied && self.me != 0 => None,
            read => found(read, Path::new(MACHINE)),
        };
        let machine =
            machine.map(|f| f.map(|f| Found { origin: FileOrigin { whose: Whose::Machine, ..f.origin }, ..f }));
        machine.into_iter().chain(self.look(&self.config, "config.toml")).collect()
    }

    /// A draft: the operator's own or, without one, the one named by the environment. The error is a sentence.
    pub fn draft(&self, name: &str) -> Option<Result<Found, String>> {
        self.look(&self.data, name)
    }

    /// Writes a draft for the operator.
    pub fn store_draft(&self, name: &str, text: &str) -> io::Result<()> {
        let dir = self.data.own.as_ref().ok_or_else(|| io::Error::other("no home directory is known"))?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        files::write(&dir.join(name), text.as_bytes(), 0o600, None)
    }

    /// Removes the operator's draft, if there is one.
    pub fn drop_draft(&self, name: &str) -> io::Result<()> {
        let Some(dir) = &self.data.own else { return Ok(()) };
        fs::remove_file(dir.join(name)).or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
    }

    fn look(&self, place: &Place, name: &str) -> Option<Result<Found, String>> {
        let at = |dir: &Option<PathBuf>, own| {
            let path = dir.as_ref()?.join(name);
            found(self.read(&path, own), &path)
        };
        at(&place.own, true).or_else(|| at(&place.other, false))
    }

    /// Reads a file. In our own directories links are followed; elsewhere no link is that others may have made.
    fn read(&self, path: &Path, own: bool) -> io::Result<Found> {
        let file = if own {
            files::open_regular(path)?.map_err(|kind| io::Error::other(format!("it is {kind}")))?
        } else {
            open_at_others(path)?
        };
        let meta = file.metadata()?;
        let refused = |why: String| Err(io::Error::other(why));
        if ![0, self.me].contains(&meta.uid()) && Some(meta.uid()) != self.caller {
            let trusted = if self.caller.is_some() { "root nor the user who called sudo" } else { "root nor you" };
            return refused(format!("it belongs to {}, who is neither {trusted}", self.name(meta.uid())));
        }
        if !own && meta.nlink() != 1 {
            return refused("it has a second hard link, so it may be a different file than it seems".into());
        }
        let mut bytes = Vec::new();
        file.take(LARGEST_PERSONAL + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST_PERSONAL {
            return refused(format!("it is larger than {} KiB", LARGEST_PERSONAL >> 10));
        }
        let mine = own && [0, self.me].contains(&meta.uid());
        let whose = if mine { Whose::Own } else { Whose::Other(self.name(meta.uid())) };
        Ok(Found {
            text: String::from_utf8_lossy(&bytes).into_owned(),
            origin: FileOrigin { path: path.display().to_string(), whose, changed: meta.mtime() },
        })
    }

    fn name(&self, uid: u32) -> String {
        user(&self.users, |_, u| u == uid).map_or_else(|| format!("user {uid}"), |u| u.0.to_owned())
    }
}

/// `None` for a file that does not exist; any other failure is reported with its path.
fn found(read: io::Result<Found>, path: &Path) -> Option<Result<Found, String>> {
    match read {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => None,
        read => Some(read.map_err(|e| format!("{} was not read: {e}", path.display()))),
    }
}

/// Name, number and home of the first user in `/etc/passwd` (passwd(5)) for whom `is` holds.
fn user(users: &str, is: impl Fn(&str, u32) -> bool) -> Option<(&str, u32, &str)> {
    users.lines().find_map(|line| {
        let words: Vec<&str> = line.split(':').collect();
        let (name, uid, home) = (*words.first()?, words.get(2)?.parse().ok()?, *words.get(5)?);
        is(name, uid).then_some((name, uid, home))
    })
}

/// How far a path could be followed.
struct Walk {
    /// The last directory that exists.
    dir: OwnedFd,
    /// Whether the whole path exists.
    whole: bool,
    /// Whether only root could have made, or can change, anything on the way.
    roots: bool,
}

/// Walks down a path one directory at a time. A link is followed only if nobody but root can have made it.
fn walk(path: &Path) -> io::Result<Walk> {
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Whether only root creates entries here. In a directory like /tmp others do too, but cannot touch root's entries.
    let guards = |dir: &OwnedFd| {
        fstat(dir).map(|s| {
            let writable = s.st_mode & 0o002 != 0 || s.st_mode & 0o020 != 0 && s.st_gid != 0;
            (s.st_uid == 0 && !writable, s.st_uid == 0 && s.st_mode & 0o1000 != 0)
        })
    };
    let parts = |path: &Path| -> Vec<OsString> {
        path.components()
            .filter_map(|c| match c {
                Component::Normal(name) => Some(name.to_owned()),
                Component::ParentDir => Some("..".into()),
                _ => None,
            })
            .collect()
    };
    let mut dir = open("/", step, Mode::empty())?;
    let (mut roots, mut links, mut left) = (true, 0, VecDeque::from(parts(path)));
    while let Some(name) = left.pop_front() {
        let (closed, sticky) = guards(&dir)?;
        roots &= closed || sticky;
        let stat = match statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
            // An entry that is missing in a directory like /tmp can be created by anybody.
            Err(rustix::io::Errno::NOENT) => return Ok(Walk { dir, whole: false, roots: roots && closed }),
            stat => stat?,
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            links += 1;
            if !roots || stat.st_uid != 0 || links > MOST_LINKS {
                return Err(io::Error::other("there is a link on the way to it"));
            }
            let target = PathBuf::from(OsString::from_vec(readlinkat(&dir, &name, Vec::new())?.into_bytes()));
            if target.is_absolute() {
                dir = open("/", step, Mode::empty())?;
            }
            for part in parts(&target).into_iter().rev() {
                left.push_front(part);
            }
            continue;
        }
        dir = openat(&dir, &name, step, Mode::empty())?;
        roots &= stat.st_uid == 0;
    }
    let (closed, sticky) = guards(&dir)?;
    Ok(Walk { dir, whole: true, roots: roots && (closed || sticky) })
}

/// Whether only root can create entries in a directory or, if it does not exist yet, create it.
fn is_roots_alone(dir: &Path) -> bool {
    walk(dir).is_ok_and(|w| w.roots && (!w.whole || fstat(&w.dir).is_ok_and(|s| s.st_mode & 0o1000 == 0)))
}

/// Opens a regular file in a directory that others control.
fn open_at_others(path: &Path) -> io::Result<File> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Err(io::ErrorKind::NotFound.into()) };
    let walk = walk(dir)?;
    if !walk.whole {
        return Err(io::ErrorKind::NotFound.into());
    }
    // Checked before opening, because opening a device may have side effects, and after, because it may
    // have been replaced.
    let regular = |file: &File| {
        let kind = file.metadata()?.file_type();
        if kind.is_file() { Ok(()) } else { Err(io::Error::other(format!("it is {}", files::kind(kind)))) }
    };
    let open =
        |how: OFlags| openat(&walk.dir, name, how | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).map(File::from);
    regular(&open(OFlags::PATH)?)?;
    let file = open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    regular(&file)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    const USERS: &str = "daemon:x:1:1::/usr/sbin:/usr/sbin/nologin\n\
        root:x:0:0:root:@/root:/bin/bash\nalice:x:12345:12345::@/alice:/bin/sh\n\
        bob:x:12346:12346::@/bob:/bin/sh\n";
    const ALICE: u32 = 12_345;
    const BOB: u32 = 12_346;

    /// Homes of root, alice and bob; `None` where we may not give files away.
    fn homes() -> Option<tempfile::TempDir> {
        let dir = tempfile::tempdir().unwrap();
        for (name, uid) in [("root", 0), ("alice", ALICE), ("bob", BOB)] {
            let home = dir.path().join(name);
            fs::create_dir(&home).unwrap();
            chown(&home, Some(uid), Some(uid)).ok()?;
        }
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Some(dir)
    }

    /// Root, with the environment of user `named`; `caller`: who called sudo.
    fn root(dir: &Path, named: &str, caller: Option<u32>) -> Personal {
        let users = USERS.replace('@', &dir.display().to_string());
        let at = |below: &str| dir.join(named).join(below).join("portcullis");
        Personal::of(0, Some((at(".config"), at(".local/share"))), caller, users)
    }

    fn put(path: &Path, text: &str, uid: u32) {
        let made: Vec<&Path> = path.ancestors().skip(1).take_while(|d| !d.exists()).collect();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        for d in made {
            chown(d, Some(uid), Some(uid)).unwrap();
        }
        fs::write(path, text).unwrap();
        chown(path, Some(uid), Some(uid)).unwrap();
    }

    fn offered(p: &Personal) -> Option<Result<(String, Whose), String>> {
        p.draft("draft.toml").map(|d| d.map(|f| (f.text, f.origin.whose)))
    }

    const BELOW: &str = ".local/share/portcullis/draft.toml";

    #[test]
    fn root_writes_at_home_and_shows_the_owner_of_other_files() {
        let Some(dir) = homes() else { return };
        let dir = dir.path();
        // The environment is root's own.
        let p = root(dir, "root", None);
        p.store_draft("draft.toml", "mine").unwrap();
        assert_eq!(fs::read_to_string(dir.join("root").join(BELOW)).unwrap(), "mine");
        assert_eq!(offered(&p), Some(Ok(("mine".into(), Whose::Own))));
        // The environment is a user's: her file is read if root has none, and is never written.
        put(&dir.join("alice").join(BELOW), "hers", ALICE);
        let p = root(dir, "alice", Some(ALICE));
        assert_eq!(offered(&p), Some(Ok(("mine".into(), Whose::Own))));
        p.drop_draft("draft.toml").unwrap();
        assert_eq!(offered(&p), Some(Ok(("hers".into(), Whose::Other("alice".into())))));
        p.drop_draft("draft.toml").unwrap();
        p.store_draft("draft.toml", "new").unwrap();
        assert_eq!(fs::read_to_string(dir.join("alice").join(BELOW)).unwrap(), "hers");
        assert_eq!(offered(&p), Some(Ok(("new".into(), Whose::Own))));
        // An empty home stays empty.
        let p = root(dir, "bob", Some(BOB));
        p.store_draft("draft.toml", "again").unwrap();
        assert_eq!(fs::read_dir(dir.join("bob")).unwrap().count(), 0);
        assert_eq!(fs::metadata(dir.join("root/.local/share/portcullis")).unwrap().mode() & 0o777, 0o700);
        // A user who is not root has only their own files.
        let at = |below: &str| dir.join("bob").join(below);
        let p = Personal::of(BOB, Some((at("c"), at("d"))), Some(ALICE), USERS.into());
        assert_eq!((p.data.own.clone(), p.data.other.clone(), p.caller), (Some(at("d")), None, None));
    }

    #[test]
    fn of_others_only_a_small_regular_file_of_who_called_sudo_is_read() {
        let Some(dir) = homes() else { return };
        let dir = dir.path();
        let path = dir.join("alice").join(BELOW);
        let refused = |p: &Personal, why: &str| {
            let said = offered(p).unwrap().unwrap_err();
            assert!(said.contains(&path.display().to_string()) && said.contains(why), "{why}: {said}");
        };
        let p = root(dir, "alice", Some(ALICE));
        assert_eq!(offered(&p), None);
        put(&path, "planted", BOB);
        refused(&p, "belongs to bob, who is neither root nor the user who called sudo");
        // Not called by sudo, but by su with her environment.
        put(&path, "hers", ALICE);
        assert!(offered(&p).unwrap().is_ok());
        refused(&root(dir, "alice", None), "belongs to alice, who is neither root nor you");
        // A file left there by an earlier version.
        put(&path, "of root", 0);
        assert_eq!(offered(&p), Some(Ok(("of root".into(), Whose::Other("root".into())))));
        // A hard link to a file of root's.
        put(&dir.join("root/secret"), "secret", 0);
        fs::remove_file(&path).unwrap();
        fs::hard_link(dir.join("root/secret"), &path).unwrap();
        refused(&p, "second hard link");
        fs::remove_file(&path).unwrap();
        symlink(dir.join("root/secret"), &path).unwrap();
        refused(&p, "it is a link");
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
        chown(&path, Some(ALICE), Some(ALICE)).unwrap();
        refused(&p, "it is a named pipe");
        fs::remove_file(&path).unwrap();
        put(&path, &"x".repeat(usize::try_from(LARGEST_PERSONAL).unwrap() + 1), ALICE);
        refused(&p, "larger than 1024 KiB");
        // A link on the way leads into a directory that only root can read.
        fs::remove_dir_all(dir.join("alice/.local")).unwrap();
        put(&dir.join("root/of-root/draft.toml"), "secret", 0);
        fs::create_dir_all(dir.join("alice/.local/share")).unwrap();
        symlink(dir.join("root/of-root"), dir.join("alice/.local/share/portcullis")).unwrap();
        chown(dir.join("alice/.local"), Some(ALICE), Some(ALICE)).unwrap();
        refused(&p, "a link on the way");
    }

    #[test]
    fn what_waits_or_is_not_ones_own_is_not_read_at_home_either() {
        let Some(dir) = homes() else { return };
        let dir = dir.path();
        let p = root(dir, "root", None);
        let path = dir.join("root").join(BELOW);
        put(&path, "planted", ALICE);
        assert!(offered(&p).unwrap().unwrap_err().contains("belongs to alice"));
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(offered(&p).unwrap().unwrap_err().contains("it is a named pipe"));
        // Root's own link is followed.
        fs::remove_file(&path).unwrap();
        put(&dir.join("root/dots/draft.toml"), "linked", 0);
        symlink(dir.join("root/dots/draft.toml"), &path).unwrap();
        assert_eq!(offered(&p), Some(Ok(("linked".into(), Whose::Own))));
    }

    #[test]
    fn a_directory_is_roots_alone_if_nobody_else_can_change_it() {
        let Some(dir) = homes() else { return };
        let dir = dir.path();
        let at = |name: &str| dir.join(name);
        for (name, mode) in [("closed", 0o755), ("open", 0o777), ("sticky", 0o1777), ("closed/deep", 0o700)] {
            fs::create_dir_all(at(name)).unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        for name in ["sticky/of-root", "open/of-root"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::create_dir(at("sticky/of-alice")).unwrap();
        chown(at("sticky/of-alice"), Some(ALICE), None).unwrap();
        symlink(at("closed"), at("link")).unwrap();
        symlink(at("alice"), at("to-alice")).unwrap();
        symlink(at("closed"), at("alice/link")).unwrap();
        symlink("loop", at("loop")).unwrap();
        for (place, alone) in [
            ("root/.config/portcullis", true),
            ("closed/deep/x/y", true),
            ("link/deep", true),
            ("sticky/of-root/x", true),
            ("alice", false),
            ("alice/.config/portcullis", false),
            ("alice/../root", false),
            ("alice/link/deep", false),
            ("to-alice/x", false),
            ("open/x", false),
            ("open/of-root", false),
            ("sticky", false),
            ("sticky/missing/x", false),
            ("sticky/of-alice/x", false),
            ("loop/x", false),
        ] {
            assert_eq!(is_roots_alone(&at(place)), alone, "{place}");
        }
    }

    #[test]
    fn homes_are_those_of_etc_passwd() {
        let p =
            Personal::of(0, None, None, "admin:x:0:0::/admin:/bin/sh\nroot:x:0:0::/root:/bin/sh\nodd line\n".into());
        assert_eq!(p.data.own.as_deref(), Some(Path::new("/root/.local/share/portcullis")));
        let p = Personal::of(0, None, None, String::new());
        assert_eq!(p.config.own.as_deref(), Some(Path::new("/root/.config/portcullis")));
        assert_eq!(Personal::of(7, None, None, String::new()).config, Place::default());
    }
}
