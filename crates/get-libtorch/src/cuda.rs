//! Which CUDA build of PyTorch 2.11 serves which driver and which GPUs.
//!
//! Sources: PyTorch's RELEASE.md, "PyTorch CUDA Support Matrix" for release 2.11 (pytorch/pytorch pull request 175253);
//! NVIDIA's "CUDA Compatibility", table of minor version compatibility, and the CUDA Toolkit's release notes, table of drivers.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use crate::gpu::{Gpu, Gpus};

/// A build of PyTorch 2.11.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// Without CUDA.
    Cpu,
    /// CUDA 12.6.
    Cu126,
    /// CUDA 12.8.
    Cu128,
    /// CUDA 13.0.
    Cu130,
}

/// A row of the table.
struct Row {
    build: Build,
    /// The oldest driver of the CUDA release itself.
    driver: u32,
    /// The oldest driver that it runs on, by compatibility within a major version.
    oldest_driver: u32,
    /// Compute capabilities that the wheels have code for. Code for X.y runs on X.z where z is at least y.
    capabilities: &'static [(u32, u32)],
}

/// The newest first.
const TABLE: [Row; 3] = [
    Row {
        build: Build::Cu130,
        driver: 580,
        oldest_driver: 580,
        capabilities: &[(7, 5), (8, 0), (8, 6), (9, 0), (10, 0), (12, 0)],
    },
    Row {
        build: Build::Cu128,
        driver: 570,
        oldest_driver: 525,
        capabilities: &[(7, 5), (8, 0), (8, 6), (9, 0), (10, 0), (12, 0)],
    },
    Row {
        build: Build::Cu126,
        driver: 560,
        oldest_driver: 525,
        // RELEASE.md lists 9.0 too, reports on the build script say that 2.11 dropped it. The other builds have it.
        capabilities: &[(5, 0), (6, 0), (7, 0), (7, 5), (8, 0), (8, 6)],
    },
];

impl Row {
    fn has_code_for(&self, gpu: &Gpu) -> bool {
        let Some((major, minor)) = gpu.capability else { return true };
        self.capabilities.iter().any(|&(of, from)| of == major && from <= minor)
    }
}

/// A build for a machine, and the reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The build.
    pub build: Build,
    /// Why this one, in a sentence; what a person could do about GPUs that stay idle.
    pub reason: String,
}

/// Chooses the build that serves most of a machine's GPUs; of those the newest whose own driver is there, or else the
/// oldest that the driver runs at all.
pub fn choose(gpus: &Gpus) -> Choice {
    let driver = gpus.driver;
    let shown = format!("driver {}", gpus.driver_text);
    let served = |row: &Row| gpus.cards.iter().filter(|gpu| row.has_code_for(gpu)).count();
    let running = TABLE.iter().filter(|row| row.oldest_driver <= driver);
    let best = running.max_by_key(|row| {
        let native = row.driver <= driver;
        // Among native ones the newest is best, among the others the oldest.
        (served(row), native, if native { i64::from(row.driver) } else { -i64::from(row.driver) })
    });
    let Some(row) = best.filter(|row| gpus.cards.is_empty() || served(row) > 0) else {
        let reason = match gpus.cards.iter().find(|gpu| TABLE.iter().any(|row| row.has_code_for(gpu))) {
            Some(gpu) => {
                let needed =
                    TABLE.iter().filter(|row| row.has_code_for(gpu)).map(|row| row.oldest_driver).min();
                format!(
                    "{} has {shown}, which is too old: {} or newer is needed, then run the set-up again",
                    gpu.name,
                    needed.unwrap_or(525)
                )
            }
            None if gpus.cards.is_empty() => format!("{shown} is too old: 525 or newer is needed"),
            None => format!(
                "no build of PyTorch 2.11 has code for {}",
                names(&gpus.cards.iter().collect::<Vec<_>>())
            ),
        };
        return Choice { build: Build::Cpu, reason };
    };
    let idle: Vec<&Gpu> = gpus.cards.iter().filter(|gpu| !row.has_code_for(gpu)).collect();
    let used: Vec<&Gpu> = gpus.cards.iter().filter(|gpu| row.has_code_for(gpu)).collect();
    let mut reason = if used.is_empty() { shown } else { format!("{} with {shown}", names(&used)) };
    if !idle.is_empty() {
        let _ = write!(reason, "; it has no code for {}", names(&idle));
    } else if driver < row.driver {
        let _ = write!(reason, "; made for driver {} or newer, and runs with this one too", row.driver);
    }
    Choice { build: row.build, reason }
}

fn names(gpus: &[&Gpu]) -> String {
    let mut names: Vec<String> = gpus
        .iter()
        .map(|gpu| match gpu.capability {
            Some((major, minor)) => format!("{} ({major}.{minor})", gpu.name),
            None => gpu.name.clone(),
        })
        .collect();
    names.dedup();
    names.join(", ")
}

impl Build {
    /// Every build.
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Cu126, Self::Cu128, Self::Cu130];

    /// Returns its name in PyTorch's index and versions: `cu126`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cu126 => "cu126",
            Self::Cu128 => "cu128",
            Self::Cu130 => "cu130",
        }
    }

    /// Tells if this build runs every GPU of a machine.
    pub fn serves(self, gpus: &Gpus) -> bool {
        let row = TABLE.iter().find(|row| row.build == self);
        row.is_some_and(|row| {
            row.oldest_driver <= gpus.driver && gpus.cards.iter().all(|gpu| row.has_code_for(gpu))
        })
    }
}

impl fmt::Display for Build {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Build {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|build| build.name() == text);
        known.ok_or_else(|| format!("expected {}", Self::ALL.map(Self::name).join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of `nvidia-smi --query-gpu=name,driver_version,compute_cap --format=csv,noheader`, with the build to take.
    const RECORDED: &str = include_str!("../tests/nvidia-smi.txt");

    #[test]
    fn every_recorded_machine_gets_its_build() {
        let mut seen = 0;
        for machine in RECORDED.split("\n\n") {
            let (comments, answer): (Vec<&str>, Vec<&str>) =
                machine.lines().partition(|line| line.starts_with('#'));
            let Some(expected) = comments.iter().find_map(|line| line.strip_prefix("# -> ")) else {
                continue;
            };
            let gpus = Gpus::of_nvidia_smi(&answer.join("\n")).expect(machine);
            let choice = choose(&gpus);
            assert_eq!(choice.build.name(), expected, "{machine}\n{}", choice.reason);
            seen += 1;
        }
        assert!(seen >= 20, "{seen}");
    }

    #[test]
    fn gpus_that_stay_idle_are_named_with_what_to_do() {
        let choose = |answer: &str| choose(&Gpus::of_nvidia_smi(answer).unwrap()).reason;
        let old = choose("Tesla V100-SXM2-16GB, 470.256.02, 7.0");
        assert!(old.contains("470.256.02") && old.contains("525"), "{old}");
        let mixed = choose("NVIDIA B200, 580.95.05, 10.0\nTesla P100-PCIE-16GB, 580.95.05, 6.0");
        assert!(mixed.contains("no code for Tesla P100"), "{mixed}");
        let unknown = choose("Tesla K80, 535.10, 3.7");
        assert!(unknown.contains("no build"), "{unknown}");
    }

    #[test]
    fn a_driver_alone_is_enough_where_the_program_is_missing() {
        let gpus = Gpus::of_driver_file(
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n",
        )
        .unwrap();
        assert_eq!(choose(&gpus).build, Build::Cu126);
        let open = Gpus::of_driver_file(
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\n",
        )
        .unwrap();
        assert_eq!(choose(&open).build, Build::Cu130);
    }

    #[test]
    fn names_of_builds_are_read_and_others_are_answered_with_the_list() {
        for build in Build::ALL {
            assert_eq!(build.name().parse(), Ok(build));
        }
        assert!("cu118".parse::<Build>().unwrap_err().contains("cu126"));
    }
}
