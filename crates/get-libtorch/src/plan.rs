//! The wheels that a build of libtorch is made of.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;

use crate::cuda::Build;
use crate::download;
use crate::error::{GetError, size};
use crate::index::{Listed, Source};
use crate::indexes::Indexes;
use crate::installed::VERSION;
use crate::requirement::{Requirement, of_metadata};
use crate::unpack::{Take, Wheel};
use crate::version::{Version, allows};
use crate::wheel::{Platform, WheelName};

/// Packages that PyPI's `libtorch_cpu.so` for Linux is linked to, even where no GPU is used.
const CPU_SET: [&str; 2] = ["nvidia-cuda-runtime==13.0.96", "nvidia-cuda-cupti==13.0.85"];
/// Bytes on disk for each byte of PyTorch's wheel (measured: 2.0), and of a package of CUDA's (1.4), rounded up.
const GROWTH: f64 = 2.3;
const GROWTH_OF_CUDA: f64 = 1.5;
/// The longest METADATA that is read; PyTorch's has 30,000 bytes.
const MAX_METADATA_LEN: u64 = 16 << 20;
/// A package that names others by extras and holds nothing.
const TOOLKIT: &str = "cuda-toolkit";

/// What has to be fetched.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) wheels: Vec<Planned>,
    /// Sentences for the person who waits.
    pub(crate) notes: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) listed: Listed,
    pub(crate) take: Take,
}

/// Fetches a wheel whose METADATA the index does not offer by itself.
pub(crate) type Fetch<'a> = dyn FnMut(&Listed) -> Result<PathBuf, GetError> + 'a;

impl Plan {
    /// Finds the wheels for a build and a platform.
    ///
    /// # Errors
    /// When an index does not have them.
    pub(crate) fn make(
        indexes: &Indexes,
        build: Build,
        platform: &Platform,
        fetch: &mut Fetch<'_>,
    ) -> Result<Self, GetError> {
        let mut plan = Self { wheels: Vec::new(), notes: Vec::new() };
        let (torch, is_default) = find_torch(indexes, build, platform, &mut plan.notes)?;
        let is_linux = platform.os == "linux";
        let mut wanted: Vec<Requirement> = Vec::new();
        if build != Build::Cpu {
            wanted = needed(&metadata(indexes, &torch, fetch)?, platform, &[]);
        } else if is_default && is_linux {
            wanted = CPU_SET.into_iter().filter_map(Requirement::parse).collect();
        }
        plan.wheels.push(Planned { listed: torch, take: Take::Libtorch });
        let mut seen = BTreeSet::new();
        while let Some(requirement) = wanted.pop() {
            if !seen.insert((requirement.name.clone(), requirement.extras.clone())) {
                continue;
            }
            let listed = find(indexes, build, platform, &requirement, &mut plan.notes)?;
            if requirement.name == TOOLKIT {
                wanted.extend(needed(&metadata(indexes, &listed, fetch)?, platform, &requirement.extras));
            } else if plan.wheels.iter().all(|planned| planned.listed.name != listed.name) {
                plan.wheels.push(Planned { listed, take: Take::All });
            }
        }
        for planned in &mut plan.wheels {
            let listed = &mut planned.listed;
            listed.size = listed.size.or_else(|| download::length(&indexes.client, &listed.url));
            if listed.sha256.is_none() && listed.url.scheme != "file" {
                plan.notes.push(format!(
                    "the index states no sha256 for {}: only its archive's own sums are checked",
                    listed.name
                ));
            }
        }
        Ok(plan)
    }

    /// Returns the bytes to fetch.
    pub(crate) fn len(&self) -> u64 {
        self.wheels.iter().filter_map(|planned| planned.listed.size).sum()
    }

    /// Returns an estimate of the bytes that will be on disk in the end.
    pub(crate) fn unpacked_len(&self) -> u64 {
        let grown = |planned: &Planned| {
            let growth = if planned.take == Take::Libtorch { GROWTH } else { GROWTH_OF_CUDA };
            planned.listed.size.unwrap_or(0) as f64 * growth
        };
        self.wheels.iter().map(grown).sum::<f64>() as u64
    }

    /// Returns a sentence about what it takes. `missing` are the bytes that are not there yet.
    pub(crate) fn describe(&self, missing: u64, need: u64, free: Option<u64>) -> String {
        // 100 Mbit/s, and the time of unpacking on two slow cores.
        let seconds = missing as f64 / 12.5e6 + self.len() as f64 / 30e6;
        let time = if seconds < 90.0 {
            format!("{:.0} s", seconds.max(1.0))
        } else {
            format!("{:.0} min", seconds / 60.0)
        };
        let from = self.wheels.first().map(|planned| planned.listed.url.host.clone());
        let free = free.map(|free| format!(" ({} are free)", size(free))).unwrap_or_default();
        format!(
            "{} to download in {} from {}, about {} on disk in the end and {} meanwhile{free}; about {time} at 100 Mbit/s",
            size(missing),
            if self.wheels.len() == 1 { "a file".to_owned() } else { format!("{} files", self.wheels.len()) },
            from.unwrap_or_default(),
            size(self.unpacked_len()),
            size(need),
        )
    }
}

/// Finds PyTorch's wheel: that of the build by name, or else the index's own default where that serves. Tells if it is the default.
fn find_torch(
    indexes: &Indexes,
    build: Build,
    platform: &Platform,
    notes: &mut Vec<String>,
) -> Result<(Listed, bool), GetError> {
    // PyPI's wheels: CUDA 13.0 on Linux, which runs without a GPU too; none elsewhere.
    let has_cpu_default = platform.os != "linux";
    let serves = build == Build::Cpu || (build == Build::Cu130 && !has_cpu_default);
    let (mut looked, mut failures) = (Vec::new(), Vec::new());
    let Some(version) = Version::parse(VERSION) else {
        return Err(no_wheel(VERSION, platform, &[], failures));
    };
    for group in indexes.groups(build, has_cpu_default) {
        let listed = indexes.list(&group, "torch", &mut failures);
        looked.extend(group);
        let of_version = |name: &WheelName| {
            name.project == "torch" && name.version.same_public(&version) && name.fits(platform)
        };
        for (is_default, local) in [(false, Some(build.name())), (true, None)] {
            if is_default && !serves {
                continue;
            }
            let found = best(&listed, |name| of_version(name) && name.version.local() == local);
            if let Some(found) = found {
                note_yanked(&found, notes);
                return Ok((found, is_default));
            }
        }
    }
    Err(no_wheel(&format!("torch {VERSION} ({build})"), platform, &looked, failures))
}

fn find(
    indexes: &Indexes,
    build: Build,
    platform: &Platform,
    requirement: &Requirement,
    notes: &mut Vec<String>,
) -> Result<Listed, GetError> {
    let (mut looked, mut failures) = (Vec::new(), Vec::new());
    let fits = |name: &WheelName| {
        name.project == requirement.name
            && name.fits(platform)
            && allows(&requirement.specifiers, &name.version) == Some(true)
    };
    for group in indexes.groups_of_packages(build) {
        let listed = indexes.list(&group, &requirement.name, &mut failures);
        looked.extend(group);
        if let Some(found) = best(&listed, fits) {
            note_yanked(&found, notes);
            return Ok(found);
        }
    }
    Err(no_wheel(&format!("{} {}", requirement.name, requirement.specifiers), platform, &looked, failures))
}

/// Returns the newest file that fits, one that was not withdrawn before any that was, one with a digest before one without.
fn best(listed: &[Listed], fits: impl Fn(&WheelName) -> bool) -> Option<Listed> {
    let named = listed.iter().filter_map(|file| Some((file, WheelName::parse(&file.name)?)));
    let mut fitting: Vec<_> = named.filter(|(_, name)| fits(name)).collect();
    fitting.sort_by_key(|(file, name)| {
        (file.yanked.is_some(), Reverse(name.version.clone()), file.sha256.is_none(), name.python_order())
    });
    fitting.first().map(|(file, _)| (*file).clone())
}

fn note_yanked(listed: &Listed, notes: &mut Vec<String>) {
    if let Some(reason) = &listed.yanked {
        let reason = if reason.is_empty() { "no reason given" } else { reason };
        notes.push(format!("{} was withdrawn by its makers ({reason}); there is no other", listed.name));
    }
}

fn no_wheel(what: &str, platform: &Platform, looked: &[Source], notes: Vec<String>) -> GetError {
    let looked = looked.iter().map(Source::shown).collect();
    GetError::NoWheel { what: what.to_owned(), platform: platform.to_string(), looked, notes }
}

/// Returns the CUDA packages that METADATA requires; what else it names is Python.
fn needed(metadata: &str, platform: &Platform, extras: &[String]) -> Vec<Requirement> {
    let mut all = of_metadata(metadata, platform, extras);
    all.retain(|requirement| requirement.name.starts_with("nvidia-") || requirement.name == TOOLKIT);
    all
}

/// Returns a wheel's METADATA: by itself where the index has it (PEP 658), or else out of the wheel.
fn metadata(indexes: &Indexes, listed: &Listed, fetch: &mut Fetch<'_>) -> Result<String, GetError> {
    let url = listed.url.with_path(format!("{}.metadata", listed.url.path));
    let offered = if url.scheme == "file" { None } else { indexes.client.get(&url, "*/*", 0).ok() };
    if let Some(answer) = offered {
        let mut text = String::new();
        let read = answer.body.take(MAX_METADATA_LEN).read_to_string(&mut text);
        if read.is_ok() && text.starts_with("Metadata-Version:") {
            return Ok(text);
        }
    }
    Wheel::open(&fetch(listed)?)?.metadata()
}
