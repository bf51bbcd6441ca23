//! Files of the live machine. Our own files (state of trials, exports) are always created new and never written through
//! a link; anything planted under their names is refused. No file can make its reader wait.

use std::ffi::CStr;
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, XattrFlags, fgetxattr, fsetxattr, lgetxattr, llistxattr};
use rustix::io::Errno;

use super::Stands;

/// Prefix of temporary files, which are renamed once they are complete.
const TEMPORARY: &str = ".portcullis-";

/// Files larger than this are not read: 100,000 rules take 14 MB.
const LARGEST: u64 = 256 << 20;

/// Attributes computed from the content (ima(7), evm): copied, they would be invalid signatures.
const OF_CONTENT: [&[u8]; 2] = [b"security.ima", b"security.evm"];

/// Writes a file whole or not at all, synced to disk, replacing whatever was there, also a link. The new file gets the
/// mode, owner and attributes of `like`; without it, it belongs to us with `mode`.
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32, like: Option<&Path>) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let (pid, started) = super::process::this_process();
    let mut file = tempfile::Builder::new().prefix(&format!("{TEMPORARY}{pid}-{started}-")).tempfile_in(dir)?;
    file.write_all(bytes)?;
    let meta = like.map(fs::symlink_metadata).transpose()?;
    if let Some(meta) = &meta {
        fchown(file.as_file(), Some(meta.uid()), Some(meta.gid()))?;
    }
    // After fchown(2), which clears mode bits.
    let mode = meta.as_ref().map_or(mode, |m| m.mode() & 0o7777);
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    if let Some(like) = like {
        keep_attributes(like, file.as_file())?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(dir)?.sync_all()
}

/// Copies the extended attributes of another file (SELinux label, ACL, user.*). One that cannot be copied is an error:
/// without its label a confined service could not read the file.
fn keep_attributes(from: &Path, to: &File) -> io::Result<()> {
    let names = match listed(|buffer| llistxattr(from, buffer)) {
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(()),
        names => names?,
    };
    for name in names.split_inclusive(|b| *b == 0).filter_map(|n| CStr::from_bytes_with_nul(n).ok()) {
        if OF_CONTENT.contains(&name.to_bytes()) {
            continue;
        }
        let value = match listed(|buffer| lgetxattr(from, name, buffer)) {
            // It was removed just now.
            Err(Errno::NODATA) => continue,
            value => value?,
        };
        // The new file may have got it already; setting a label needs a privilege.
        if listed(|buffer| fgetxattr(to, name, buffer)).is_ok_and(|now| now == value) {
            continue;
        }
        fsetxattr(to, name, &value, XattrFlags::empty()).map_err(|e| {
            io::Error::other(format!("its attribute {} cannot be kept: {}", name.to_string_lossy(), io::Error::from(e)))
        })?;
    }
    Ok(())
}

/// Calls something that returns the needed size when it is given an empty buffer (xattr(7): 64 KB at most).
fn listed(call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 1 << 16];
    let length = call(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

/// What kind of file a path leads to, following links.
pub(super) fn stands(path: &Path) -> io::Result<Stands> {
    match fs::metadata(path) {
        Ok(m) if m.is_file() => Ok(Stands::File { names: m.nlink(), size: m.len(), runs: m.mode() & 0o111 != 0 }),
        Ok(m) => Ok(Stands::Other(kind(m.file_type()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound && is_link(path) => Ok(Stands::Other("a dangling link")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Stands::Nothing),
        Err(e) => Err(e),
    }
}

pub(super) fn kind(of: FileType) -> &'static str {
    match of {
        t if t.is_symlink() => "a link",
        t if t.is_dir() => "a directory",
        t if t.is_fifo() => "a named pipe",
        t if t.is_socket() => "a socket",
        t if t.is_char_device() || t.is_block_device() => "a device",
        _ => "not a regular file",
    }
}

/// Removes temporary files whose writer is gone.
pub(super) fn sweep(dir: &Path, alive: impl Fn(u32, u64) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|e| e.file_name().to_str().and_then(writer_of).is_some_and(|(pid, started)| !alive(pid, started)))
        .filter(|e| e.metadata().is_ok_and(|m| m.is_file() && is_mine(&m)))
        .map(|e| e.path())
        .filter(|p| fs::remove_file(p).is_ok())
        .collect()
}

/// The process that is writing a temporary file, taken from its name: pid and start time.
pub(super) fn writer_of(name: &str) -> Option<(u32, u64)> {
    let mut parts = name.strip_prefix(TEMPORARY)?.splitn(3, '-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?)).filter(|_| parts.next().is_some())
}

/// Writes a file for the operator; a script becomes executable. A file of another user or a link is not replaced.
pub(super) fn export(path: &Path, text: &str) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(m) if !is_mine(&m) => return Err(foreign(path)),
        Ok(m) if !m.is_file() => return Err(no_file(path)),
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    write(path, text.as_bytes(), if text.starts_with("#!") { 0o700 } else { 0o600 }, None)
}

/// Reads one of our files.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A planted pipe has no writer: opening it must not wait for one.
    content(path, own(path, OpenOptions::new().read(true), OFlags::NONBLOCK)?)
}

/// Reads a file of any owner, following links. Only regular files are opened: opening a device can have side effects.
pub(super) fn read_any(path: &Path) -> io::Result<Vec<u8>> {
    match open_regular(path)? {
        Ok(file) => content(path, file),
        Err(kind) => Err(io::Error::other(format!("{} is {kind}", path.display()))),
    }
}

/// Opens a regular file, following links; the inner error says what it is instead.
pub(super) fn open_regular(path: &Path) -> io::Result<Result<File, &'static str>> {
    let meta = fs::metadata(path)?;
    if !meta.is_file() {
        return Ok(Err(kind(meta.file_type())));
    }
    // It may have been replaced by a pipe meanwhile.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed())
        .open(path)?;
    let meta = file.metadata()?;
    Ok(if meta.is_file() { Ok(file) } else { Err(kind(meta.file_type())) })
}

fn content(path: &Path, file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other(format!("{} is larger than {} MiB", path.display(), LARGEST >> 20)));
    }
    Ok(bytes)
}

/// Opens one of our directories or files for locking; the file is created if it does not exist.
pub(super) fn lockable(path: &Path) -> io::Result<File> {
    if fs::symlink_metadata(path).is_ok_and(|m| m.is_dir()) {
        let dir = OpenOptions::new()
            .read(true)
            .custom_flags((OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed())
            .open(path)?;
        return if is_mine(&dir.metadata()?) { Ok(dir) } else { Err(foreign(path)) };
    }
    own(path, OpenOptions::new().create(true).truncate(false).write(true).mode(0o600), OFlags::NONBLOCK)
}

fn own(path: &Path, options: &mut OpenOptions, flags: OFlags) -> io::Result<File> {
    let file = options
        .custom_flags((flags | OFlags::NOFOLLOW).bits().cast_signed())
        .open(path)
        .map_err(|e| if is_link(path) { no_file(path) } else { e })?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(no_file(path));
    }
    if is_mine(&meta) { Ok(file) } else { Err(foreign(path)) }
}

/// Creates one of our directories (0700), or makes an existing one private.
pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    if let Err(e) = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
        && e.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(e);
    }
    if is_link(dir) {
        return Err(io::Error::other(format!("{} is a link, not a directory", dir.display())));
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed())
        .open(dir)?;
    let meta = file.metadata()?;
    if !is_mine(&meta) {
        return Err(foreign(dir));
    }
    if meta.mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn is_mine(meta: &fs::Metadata) -> bool {
    meta.uid() == rustix::process::geteuid().as_raw()
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink())
}

fn foreign(path: &Path) -> io::Error {
    io::Error::other(format!("{} belongs to another user", path.display()))
}

fn no_file(path: &Path) -> io::Error {
    io::Error::other(format!("{} is a link or not a regular file", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::host::live::Live;
    use std::os::unix::fs::{chown, symlink};
    use std::time::Duration;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    fn put(path: &Path, mode: u32) {
        fs::write(path, "old").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Gives a file to another user, if we may.
    fn give_away(path: &Path) -> bool {
        chown(path, Some(12345), Some(12345)).is_ok()
    }

    fn why<T>(done: io::Result<T>) -> String {
        done.err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_new_file_belongs_to_us_alone_whatever_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let live = Live::in_dir(dir.path());
        let path = live.paths().run.join("trial.json");
        let elsewhere = dir.path().join("elsewhere");
        live.make_dir(&live.paths().run).unwrap();
        put(&path, 0o644);
        live.write(&path, b"new", 0o600).unwrap();
        assert_eq!((mode(&path), live.read(&path).unwrap()), (0o600, b"new".to_vec()));
        if give_away(&path) {
            assert!(why(live.read(&path)).contains("belongs to another user"));
            live.write(&path, b"new", 0o600).unwrap();
            assert_eq!(live.read(&path).unwrap(), b"new");
        }
        put(&elsewhere, 0o600);
        fs::remove_file(&path).unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert!(why(live.read(&path)).contains("is a link"));
        live.write(&path, b"new", 0o600).unwrap();
        assert_eq!((fs::read(&elsewhere).unwrap(), live.read(&path).unwrap()), (b"old".to_vec(), b"new".to_vec()));
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        assert!(why(live.read(&path)).contains("not a regular file"), "a pipe that nobody writes to");
        // A file of another owner is read as it is.
        let link = dir.path().join("link");
        symlink(&elsewhere, &link).unwrap();
        assert_eq!(live.read(&link).unwrap(), b"old");
    }

    #[test]
    fn a_lock_held_by_another_process_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let live = Live::default();
        let path = dir.path().join("lock");
        assert!(live.lock(&path, Duration::ZERO).unwrap().is_some());
        assert_eq!(mode(&path), 0o600);
        if give_away(&path) {
            assert!(why(live.lock(&path, Duration::ZERO)).contains("belongs to another user"));
        }
        fs::remove_file(&path).unwrap();
        symlink(dir.path().join("made"), &path).unwrap();
        assert!(why(live.lock(&path, Duration::ZERO)).contains("is a link") && !dir.path().join("made").exists());
    }

    #[test]
    fn a_directory_of_ours_is_closed_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, link) = (dir.path().join("a/b"), dir.path().join("link"));
        make_dir(&ours).unwrap();
        assert_eq!(mode(&ours), 0o700);
        for lax in [0o755, 0o777] {
            fs::set_permissions(&ours, fs::Permissions::from_mode(lax)).unwrap();
            make_dir(&ours).unwrap();
            assert_eq!(mode(&ours), 0o700);
        }
        symlink(&ours, &link).unwrap();
        assert!(why(make_dir(&link)).contains("is a link"));
        if give_away(&ours) {
            assert!(why(make_dir(&ours)).contains("belongs to another user"));
        }
        put(&dir.path().join("file"), 0o600);
        assert!(make_dir(&dir.path().join("file")).is_err());
    }

    #[test]
    fn an_export_touches_nothing_of_others() {
        let dir = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (dir.path().join("plan"), dir.path().join("elsewhere"));
        for (text, expected) in [("#!/bin/sh\n", 0o700), ("*filter\n", 0o600), ("#!/bin/sh\n", 0o700)] {
            export(&path, text).unwrap();
            assert_eq!((mode(&path), fs::read_to_string(&path).unwrap().as_str()), (expected, text));
        }
        if give_away(&path) {
            assert!(why(export(&path, "mine")).contains("belongs to another user"));
            assert_eq!(fs::read_to_string(&path).unwrap(), "#!/bin/sh\n");
        }
        fs::remove_file(&path).unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert!(why(export(&path, "mine")).contains("is a link") && !elsewhere.exists());
        assert!(export(dir.path(), "mine").is_err());
    }

    #[test]
    fn a_file_of_the_administrator_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rules.v4");
        let live = Live::default();
        live.rewrite(&path, b"new", 0o640).unwrap();
        assert_eq!(mode(&path), 0o640);
        put(&path, 0o604);
        let given = give_away(&path);
        live.rewrite(&path, b"new", 0o640).unwrap();
        let meta = fs::metadata(&path).unwrap();
        assert_eq!((mode(&path), fs::read(&path).unwrap()), (0o604, b"new".to_vec()));
        assert!(!given || meta.uid() == 12345);
    }

    #[test]
    fn a_file_of_the_administrator_keeps_its_attributes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rules.v4");
        put(&path, 0o640);
        let set = |name: &str, value: &[u8]| rustix::fs::setxattr(&path, name, value, XattrFlags::empty());
        if set("user.owner", b"ops").is_err() {
            // This file system has no such attributes: the tests on real files report that.
            return;
        }
        // An SELinux label; without SELinux root may set any.
        let labelled = set("security.selinux", b"system_u:object_r:system_conf_t:s0\0").is_ok();
        Live::default().rewrite(&path, b"new", 0o640).unwrap();
        let get = |name: &str| listed(|buffer| rustix::fs::getxattr(&path, name, buffer)).unwrap_or_default();
        assert_eq!((fs::read(&path).unwrap(), get("user.owner")), (b"new".to_vec(), b"ops".to_vec()));
        assert!(!labelled || get("security.selinux").starts_with(b"system_u:object_r:system_conf_t:s0"));
    }

    #[test]
    fn nothing_but_a_regular_file_is_read_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let live = Live::default();
        let (file, pipe, link, lost) =
            (dir.path().join("file"), dir.path().join("pipe"), dir.path().join("link"), dir.path().join("lost"));
        put(&file, 0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        symlink("/dev/null", &link).unwrap();
        symlink(dir.path().join("none"), &lost).unwrap();
        for (path, what) in [(&pipe, "a named pipe"), (&link, "a device"), (&dir.path().to_owned(), "a directory")] {
            assert!(why(live.read(path)).ends_with(&format!("is {what}")), "{}", why(live.read(path)));
            assert_eq!(live.stands(path).unwrap(), Stands::Other(what));
        }
        assert_eq!(live.stands(&lost).unwrap(), Stands::Other("a dangling link"));
        assert_eq!(live.stands(&dir.path().join("none")).unwrap(), Stands::Nothing);
        fs::hard_link(&file, dir.path().join("other")).unwrap();
        assert_eq!(live.stands(&file).unwrap(), Stands::File { names: 2, size: 3, runs: false });
        let large = File::create(dir.path().join("large")).unwrap();
        large.set_len(LARGEST + 1).unwrap();
        assert!(why(live.read(&dir.path().join("large"))).contains("is larger than 256 MiB"));
    }

    #[test]
    fn what_is_left_of_a_write_goes_when_its_process_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let live = Live::default();
        let (me, started) = live.me();
        let left = dir.path().join(format!("{TEMPORARY}{me}-{}-aB3xYz", started + 100));
        for name in [
            left.clone(),
            dir.path().join(format!("{TEMPORARY}{me}-{started}-aB3xYz")),
            dir.path().join(".portcullis-mine"),
            dir.path().join("rules.v4"),
        ] {
            put(&name, 0o600);
        }
        assert_eq!(live.sweep(dir.path()), [left]);
        assert_eq!(live.list(dir.path()).len(), 3);
        assert!(live.sweep(&dir.path().join("none")).is_empty());
    }
}
