//! This machine's NVIDIA GPUs and their driver, as `nvidia-smi` or the kernel says.

use std::process::Command;

/// What `nvidia-smi` is asked.
const QUERY: [&str; 2] = ["--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader"];
/// The kernel module's own word, for machines without `nvidia-smi`.
const DRIVER_FILE: &str = "/proc/driver/nvidia/version";

/// A GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// `NVIDIA A40`.
    pub name: String,
    /// Compute capability, such as (8, 6); `None` where nothing says it.
    pub capability: Option<(u32, u32)>,
}

/// The GPUs of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpus {
    /// The driver's branch: 535 of 535.183.01.
    pub driver: u32,
    /// The driver's whole version.
    pub driver_text: String,
    /// The cards; none where only the driver could be asked.
    pub cards: Vec<Gpu>,
}

impl Gpus {
    /// Asks this machine; `None` without an NVIDIA driver.
    pub fn of_this_machine() -> Option<Self> {
        let output =
            Command::new("nvidia-smi").args(QUERY).output().ok().filter(|output| output.status.success());
        let answer = output.and_then(|output| Self::of_nvidia_smi(&String::from_utf8_lossy(&output.stdout)));
        answer.or_else(|| Self::of_driver_file(&std::fs::read_to_string(DRIVER_FILE).ok()?))
    }

    /// Reads an answer of `nvidia-smi`: name, driver and compute capability of a card in each line.
    pub(crate) fn of_nvidia_smi(answer: &str) -> Option<Self> {
        let mut found: Option<Self> = None;
        for line in answer.lines().filter(|line| !line.trim().is_empty()) {
            let mut fields = line.rsplitn(3, ',').map(str::trim);
            let (capability, driver, name) = (fields.next()?, fields.next()?, fields.next()?);
            let gpu = Gpu { name: name.to_owned(), capability: pair(capability) };
            match &mut found {
                Some(gpus) => gpus.cards.push(gpu),
                None => found = Some(Self { cards: vec![gpu], ..Self::of_version(driver)? }),
            }
        }
        found
    }

    /// Reads the kernel module's line.
    pub(crate) fn of_driver_file(text: &str) -> Option<Self> {
        text.lines().next()?.split_whitespace().find_map(Self::of_version)
    }

    fn of_version(text: &str) -> Option<Self> {
        let (branch, _) = text.split_once('.')?;
        let driver = branch.parse().ok().filter(|driver| *driver >= 300)?;
        Some(Self { driver, driver_text: text.to_owned(), cards: Vec::new() })
    }
}

fn pair(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
