//! libtorch in a directory: whole, or not at all.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cuda::Build;
use crate::download;
use crate::error::{GetError, size};
use crate::indexes::Indexes;
use crate::installed;
use crate::plan::Plan;
use crate::report::Report;
use crate::unpack::Wheel;
use crate::wheel::Platform;

/// Puts libtorch into a directory.
#[derive(Debug)]
pub struct Installer {
    /// The directory: `torch` and `nvidia` will be in it. Beside it lie, while it works, `….downloads` and `….partial`.
    pub home: PathBuf,
    /// The machine that it is for.
    pub platform: Platform,
    /// Tells the bytes that are free on a directory's disk.
    pub free_space: fn(&Path) -> Option<u64>,
    /// The wait before a download that broke off is tried again.
    pub pause: Duration,
}

/// Waits for another set-up in the same place to end; the file is unlocked when it is dropped.
///
/// # Errors
/// When the file cannot be made.
pub fn lock(home: &Path) -> Result<File, GetError> {
    let path = beside(home, "lock");
    let file = File::create(&path).map_err(GetError::file("create", &path))?;
    file.lock().map_err(GetError::file("lock", &path))?;
    Ok(file)
}

impl Installer {
    /// Makes one for this machine.
    ///
    /// # Errors
    /// When PyTorch has no wheel for this machine.
    pub fn new(home: &Path) -> Result<Self, GetError> {
        Ok(Self {
            home: home.to_owned(),
            platform: Platform::of_this_machine()?,
            free_space: crate::disk::free_space,
            pause: Duration::from_secs(1),
        })
    }

    /// Fetches the wheels of a build and unpacks them beside the directory, which then gets its name. Returns the version.
    ///
    /// # Errors
    /// When a wheel cannot be had, is not what the index says, or does not fit on the disk. What was downloaded is kept.
    pub fn install(
        &self,
        build: Build,
        indexes: &Indexes,
        report: &mut dyn Report,
    ) -> Result<String, GetError> {
        let start = Instant::now();
        let (downloads, partial, old) =
            (beside(&self.home, "downloads"), beside(&self.home, "partial"), beside(&self.home, "old"));
        for stale in [&partial, &old] {
            remove(stale)?;
        }
        fs::create_dir_all(&downloads).map_err(GetError::file("create", &downloads))?;
        report.note(&format!("looking for PyTorch {} ({build}) for {}", installed::VERSION, self.platform));
        let plan = {
            let mut fetch =
                |listed: &_| download::fetch(&indexes.client, listed, &downloads, self.pause, report);
            Plan::make(indexes, build, &self.platform, &mut fetch)?
        };
        for note in &plan.notes {
            report.note(note);
        }
        let missing = plan.len().saturating_sub(present(&plan, &downloads));
        let need = missing + plan.unpacked_len();
        let free = (self.free_space)(&downloads);
        report.note(&plan.describe(missing, need, free));
        self.check_space(&downloads, need)?;

        let mut wheels = Vec::new();
        for planned in &plan.wheels {
            let path = download::fetch(&indexes.client, &planned.listed, &downloads, self.pause, report)?;
            wheels.push((Wheel::open(&path)?, planned));
        }
        let mut unpacked = 0;
        for (wheel, planned) in &mut wheels {
            unpacked += wheel.unpacked_len(planned.take)?;
        }
        self.check_space(&downloads, unpacked)?;
        for (wheel, planned) in &mut wheels {
            report.note(&format!("unpacking {}", planned.listed.name));
            wheel.unpack(planned.take, &partial)?;
        }
        let version = installed::check(&partial.join("torch")).map_err(|unfit| GetError::Unfit {
            what: "the wheels are not the libtorch that is needed",
            unfit,
        })?;
        self.put_in_place(&partial, &old)?;
        remove(&downloads)?;
        report.note(&format!("{} are unpacked in {:.0} s", size(unpacked), start.elapsed().as_secs_f64()));
        Ok(version)
    }

    /// Makes the directory's `torch` a link to a PyTorch that is there already. Returns its version.
    ///
    /// # Errors
    /// When it is not of the version.
    pub fn link(&self, torch: &Path) -> Result<String, GetError> {
        let target = std::path::absolute(torch).map_err(GetError::file("resolve", torch))?;
        let version = installed::check(&target)
            .map_err(|unfit| GetError::Unfit { what: "this PyTorch cannot be used", unfit })?;
        let (partial, old) = (beside(&self.home, "partial"), beside(&self.home, "old"));
        for stale in [&partial, &old] {
            remove(stale)?;
        }
        fs::create_dir_all(&partial).map_err(GetError::file("create", &partial))?;
        std::os::unix::fs::symlink(&target, partial.join("torch"))
            .map_err(GetError::file("link to", &target))?;
        self.put_in_place(&partial, &old)?;
        Ok(version)
    }

    fn put_in_place(&self, partial: &Path, old: &Path) -> Result<(), GetError> {
        if fs::symlink_metadata(&self.home).is_ok() {
            fs::rename(&self.home, old).map_err(GetError::file("move away", &self.home))?;
        }
        fs::rename(partial, &self.home).map_err(GetError::file("move libtorch to", &self.home))?;
        remove(old)
    }

    fn check_space(&self, dir: &Path, need: u64) -> Result<(), GetError> {
        match (self.free_space)(dir) {
            Some(free) if free < need => Err(GetError::Disk { path: dir.to_owned(), need, free }),
            _ => Ok(()),
        }
    }
}

/// Returns the bytes of a plan that are on this disk already.
fn present(plan: &Plan, downloads: &Path) -> u64 {
    plan.wheels
        .iter()
        .map(|planned| match planned.listed.url.scheme.as_str() {
            "file" => planned.listed.size.unwrap_or(0),
            _ => download::present(&planned.listed, downloads),
        })
        .sum()
}

/// Returns `.libtorch.partial` of `.libtorch`.
fn beside(home: &Path, ending: &str) -> PathBuf {
    let mut name = home.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(ending);
    home.with_file_name(name)
}

fn remove(dir: &Path) -> Result<(), GetError> {
    let removed = match fs::symlink_metadata(dir) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(dir),
        Ok(_) => fs::remove_file(dir),
        Err(_) => return Ok(()),
    };
    removed.map_err(GetError::file("remove", dir))
}
