//! Files of the live machine. What is ours (state of trials, exports) is written as new files of our own and never
//! through a link; what was planted under our names is refused, whoever may do so.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use rustix::fs::OFlags;

/// Writes a file whole or not at all, synced to disk. The new file takes the place of whatever stood there, also of a
/// link; with `like` it has the mode and owner of that, else it is ours with `mode`.
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32, like: Option<&fs::Metadata>) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new().prefix(".portcullis-").tempfile_in(dir)?;
    file.write_all(bytes)?;
    if let Some(like) = like {
        fchown(file.as_file(), Some(like.uid()), Some(like.gid()))?;
    }
    // After the owner: fchown(2) clears bits.
    let mode = like.map_or(mode, |m| m.mode() & 0o7777);
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(dir)?.sync_all()
}

/// Writes a file of the operator's: a script can be executed. What belongs to another user, or leads elsewhere, stays.
pub(super) fn export(path: &Path, text: &str) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(m) if !is_mine(&m) => return Err(foreign(path)),
        Ok(m) if !m.is_file() => return Err(no_file(path)),
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    write(path, text.as_bytes(), if text.starts_with("#!") { 0o700 } else { 0o600 }, None)
}

/// Reads a file of ours.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Nobody answers at a planted pipe: opening one must not wait.
    own(path, OpenOptions::new().read(true), OFlags::NONBLOCK)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a file of ours to be locked, and makes it if it is not there.
pub(super) fn lockable(path: &Path) -> io::Result<File> {
    own(path, OpenOptions::new().create(true).truncate(false).write(true).mode(0o600), OFlags::NONBLOCK)
}

fn own(path: &Path, options: &mut OpenOptions, flags: OFlags) -> io::Result<File> {
    let file = options.custom_flags((flags | OFlags::NOFOLLOW).bits().cast_signed()).open(path)
        .map_err(|e| if is_link(path) { no_file(path) } else { e })?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(no_file(path));
    }
    if is_mine(&meta) { Ok(file) } else { Err(foreign(path)) }
}

/// Makes a directory of ours (0700), or closes the one that is there for others.
pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    if let Err(e) = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
        && e.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(e);
    }
    if is_link(dir) {
        return Err(io::Error::other(format!("{} is a link, not a directory", dir.display())));
    }
    let file = OpenOptions::new().read(true).custom_flags((OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed()).open(dir)?;
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
    io::Error::other(format!("{} belongs to somebody else", path.display()))
}

fn no_file(path: &Path) -> io::Error {
    io::Error::other(format!("{} is a link or no file", path.display()))
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

    /// Gives it to another user, if we may.
    fn give_away(path: &Path) -> bool {
        chown(path, Some(12345), Some(12345)).is_ok()
    }

    fn why<T>(done: io::Result<T>) -> String {
        done.err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_file_of_ours_is_ours_alone_whatever_stood_there() {
        let dir = tempfile::tempdir().unwrap();
        let live = Live::in_dir(dir.path());
        let path = live.paths().run.join("trial.json");
        let elsewhere = dir.path().join("elsewhere");
        live.make_dir(&live.paths().run).unwrap();
        put(&path, 0o644);
        live.write(&path, b"new", 0o600).unwrap();
        assert_eq!((mode(&path), live.read(&path).unwrap()), (0o600, b"new".to_vec()));
        if give_away(&path) {
            assert!(why(live.read(&path)).contains("belongs to somebody else"));
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
        assert!(why(live.read(&path)).contains("no file"), "a pipe that nobody writes to");
        // What is not ours is read as it is.
        let link = dir.path().join("link");
        symlink(&elsewhere, &link).unwrap();
        assert_eq!(live.read(&link).unwrap(), b"old");
    }

    #[test]
    fn a_lock_of_somebody_else_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let live = Live::default();
        let path = dir.path().join("lock");
        assert!(live.lock(&path, Duration::ZERO).unwrap().is_some());
        assert_eq!(mode(&path), 0o600);
        if give_away(&path) {
            assert!(why(live.lock(&path, Duration::ZERO)).contains("belongs to somebody else"));
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
            assert!(why(make_dir(&ours)).contains("belongs to somebody else"));
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
            assert!(why(export(&path, "mine")).contains("belongs to somebody else"));
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
}
