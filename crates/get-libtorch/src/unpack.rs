//! What is taken out of a wheel, and the way there.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use zip::ZipArchive;

use crate::error::GetError;

/// Members of a wheel, and no more; PyTorch's has 13,000.
const MAX_MEMBERS: usize = 200_000;
/// Bytes of a wheel's members together; the largest, with every CUDA library, stays below 3 GB.
const MAX_UNPACKED_LEN: u64 = 16 << 30;
/// Files of at least this length are on the disk before the directory gets its name.
const SYNCED_LEN: u64 = 1 << 20;

/// The members that are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// PyTorch's libraries and headers, the file that states its version, and what the wheel says of itself, licences included.
    /// The rest is Python.
    Libtorch,
    /// Everything: packages of CUDA libraries.
    All,
}

impl Take {
    fn takes(self, member: &Path) -> bool {
        match self {
            Self::All => true,
            Self::Libtorch => {
                let within = |dir: &str| member.starts_with(dir);
                let about = member
                    .components()
                    .next()
                    .is_some_and(|first| first.as_os_str().to_string_lossy().ends_with(".dist-info"));
                about || within("torch/lib") || within("torch/include") || within("torch/version.py")
            }
        }
    }
}

/// A wheel that is open.
pub(crate) struct Wheel {
    path: PathBuf,
    archive: ZipArchive<BufReader<File>>,
}

impl Wheel {
    /// Opens a wheel and checks its members' names, number and length.
    ///
    /// # Errors
    /// When it is no archive, or one that no honest wheel is.
    pub(crate) fn open(path: &Path) -> Result<Self, GetError> {
        let file = File::open(path).map_err(GetError::file("open", path))?;
        let archive = ZipArchive::new(BufReader::new(file))
            .map_err(|error| wrong(path, format!("is damaged: {error}")))?;
        let mut wheel = Self { path: path.to_owned(), archive };
        if wheel.archive.len() > MAX_MEMBERS {
            return Err(wrong(
                path,
                format!("has {} members; at most {MAX_MEMBERS} are unpacked", wheel.archive.len()),
            ));
        }
        let all = wheel.members(Take::All)?;
        let len = all.iter().fold(0_u64, |sum, member| sum.saturating_add(member.len));
        if len > MAX_UNPACKED_LEN {
            return Err(wrong(
                path,
                format!("says it holds {len} bytes; at most {MAX_UNPACKED_LEN} are unpacked"),
            ));
        }
        Ok(wheel)
    }

    /// Returns the bytes that what is taken has unpacked.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn unpacked_len(&mut self, take: Take) -> Result<u64, GetError> {
        Ok(self.members(take)?.iter().map(|member| member.len).sum())
    }

    /// Reads the wheel's METADATA.
    ///
    /// # Errors
    /// When it has none.
    pub(crate) fn metadata(&mut self) -> Result<String, GetError> {
        let path = self.path.clone();
        let is_metadata = |member: &Member| {
            member.path.components().count() == 2
                && member.path.to_string_lossy().ends_with(".dist-info/METADATA")
        };
        let member = self.members(Take::All)?.into_iter().find(is_metadata);
        let member = member.ok_or_else(|| wrong(&path, "has no METADATA".to_owned()))?;
        let mut text = String::new();
        let mut open =
            self.archive.by_index(member.index).map_err(|error| wrong(&path, error.to_string()))?;
        open.read_to_string(&mut text).map_err(GetError::file("read METADATA in", &path))?;
        Ok(text)
    }

    /// Unpacks what is taken into a directory.
    ///
    /// # Errors
    /// When a member is damaged (its CRC-32 is checked) or cannot be written.
    pub(crate) fn unpack(&mut self, take: Take, into: &Path) -> Result<(), GetError> {
        for member in self.members(take)? {
            let target = into.join(&member.path);
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent).map_err(GetError::file("create", parent))?;
            }
            let mut source = self.archive.by_index(member.index).map_err(|error| {
                wrong(&self.path, format!("is damaged at `{}`: {error}", member.path.display()))
            })?;
            let file = File::create(&target).map_err(GetError::file("create", &target))?;
            let mut file = BufWriter::with_capacity(1 << 17, file);
            // The length in the directory is what was counted; a member that is longer is no honest one.
            let written = io::copy(&mut source.by_ref().take(member.len + 1), &mut file)
                .map_err(GetError::file("unpack", &target))?;
            if written != member.len {
                let what = format!(
                    "is damaged at `{}`: {written} bytes or more, not {}",
                    member.path.display(),
                    member.len
                );
                return Err(wrong(&self.path, what));
            }
            file.flush().map_err(GetError::file("write", &target))?;
            if member.len >= SYNCED_LEN {
                file.get_ref().sync_all().map_err(GetError::file("write", &target))?;
            }
            if member.is_executable {
                let mode = fs::Permissions::from_mode(0o755);
                fs::set_permissions(&target, mode).map_err(GetError::file("make executable", &target))?;
            }
        }
        Ok(())
    }

    /// Lists the files that are taken.
    fn members(&mut self, take: Take) -> Result<Vec<Member>, GetError> {
        let mut members = Vec::new();
        for index in 0..self.archive.len() {
            let file =
                self.archive.by_index_raw(index).map_err(|error| wrong(&self.path, error.to_string()))?;
            let is_relative = !file.name().starts_with(['/', '\\']);
            let safe = file.enclosed_name().filter(|_| is_relative);
            let safe = safe.filter(|name| name.components().all(|part| matches!(part, Component::Normal(_))));
            let Some(path) = safe.filter(|_| !file.is_symlink()) else {
                return Err(wrong(
                    &self.path,
                    format!("has the member `{}`, which leads out of it", file.name().escape_debug()),
                ));
            };
            if file.is_dir() || !take.takes(&path) {
                continue;
            }
            let is_executable = file.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
            members.push(Member { index, path, len: file.size(), is_executable });
        }
        Ok(members)
    }
}

struct Member {
    index: usize,
    path: PathBuf,
    len: u64,
    is_executable: bool,
}

fn wrong(path: &Path, what: String) -> GetError {
    GetError::Archive { path: path.to_owned(), what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    fn archive(members: &[(&str, &str)]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = ZipWriter::new(file.reopen().unwrap());
        for (name, text) in members {
            let mode = if name.contains("/lib/") { 0o755 } else { 0o644 };
            writer.start_file(*name, SimpleFileOptions::default().unix_permissions(mode)).unwrap();
            writer.write_all(text.as_bytes()).unwrap();
        }
        writer.finish().unwrap();
        file
    }

    #[test]
    fn libraries_and_headers_are_taken_and_python_is_left() {
        let wheel = archive(&[
            ("torch/lib/libtorch_cpu.so", "library"),
            ("torch/include/torch/torch.h", "header"),
            ("torch/version.py", "__version__ = '2.11.0'"),
            ("torch/nn/functional.py", "python"),
            ("torch/library.py", "python"),
            ("torch-2.11.0.dist-info/METADATA", "Name: torch"),
            ("torchgen/gen.py", "python"),
        ]);
        let out = tempfile::tempdir().unwrap();
        let mut wheel = Wheel::open(wheel.path()).unwrap();
        assert_eq!(wheel.metadata().unwrap(), "Name: torch");
        assert_eq!(wheel.unpacked_len(Take::Libtorch).unwrap(), 46);
        wheel.unpack(Take::Libtorch, out.path()).unwrap();
        let is_there = |name: &str| out.path().join(name).exists();
        assert!(is_there("torch/lib/libtorch_cpu.so") && is_there("torch/include/torch/torch.h"));
        assert!(is_there("torch/version.py") && is_there("torch-2.11.0.dist-info/METADATA"));
        assert!(!is_there("torch/nn") && !is_there("torch/library.py") && !is_there("torchgen"));
        let mode = fs::metadata(out.path().join("torch/lib/libtorch_cpu.so")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
    }

    #[test]
    fn members_that_lead_elsewhere_are_refused() {
        for name in ["../outside", "/etc/passwd", "torch/../../outside"] {
            let error = Wheel::open(archive(&[(name, "x")]).path()).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains("leads out of it"), "{error}");
        }
        let not_one = tempfile::NamedTempFile::new().unwrap();
        fs::write(not_one.path(), "<html>503</html>").unwrap();
        assert!(Wheel::open(not_one.path()).is_err());
    }
}
