//! The decision: is what is there good enough, and if not, which build to fetch.

use std::path::Path;

use crate::cuda::{Build, Choice, choose};
use crate::gpu::Gpus;
use crate::installed::{build_of, check, has_cuda_packages};

/// Requirements on a libtorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Any that is there; where none is, the one for this machine.
    Any,
    /// One that drives this machine's GPUs, where it has some.
    ForThisMachine,
    /// One with CUDA, whether or not a GPU is here.
    Cuda,
    /// This build.
    Exactly(Build),
}

impl Wanted {
    /// Chooses the build to fetch for a machine.
    pub fn choice(self, gpus: Option<&Gpus>) -> Choice {
        let choice = match (self, gpus) {
            (Self::Exactly(build), _) => Choice { build, reason: "as asked for".to_owned() },
            (_, Some(gpus)) => choose(gpus),
            (_, None) => Choice { build: Build::Cpu, reason: "no NVIDIA driver was found".to_owned() },
        };
        if self == Self::Cuda && choice.build == Build::Cpu {
            return Choice { build: Build::Cu130, reason: format!("as asked for, though {}", choice.reason) };
        }
        choice
    }

    /// Tells if the libtorch in a directory will do, and its version. A link to somebody's own PyTorch is his choice.
    pub fn is_met_by(self, home: &Path, gpus: Option<&Gpus>) -> Option<String> {
        let torch = home.join("torch");
        let version = check(&torch).ok()?;
        let build = build_of(&version);
        let linked = torch.is_symlink();
        let with_cuda = build != Build::Cpu && (linked || has_cuda_packages(home));
        let met = match self {
            Self::Any | Self::Exactly(Build::Cpu) => true,
            Self::Exactly(wanted) => build == wanted && with_cuda,
            Self::ForThisMachine | Self::Cuda => match gpus {
                _ if linked => true,
                // By hand somebody may have named another build than the one that would be chosen.
                Some(gpus) if self.choice(Some(gpus)).build != Build::Cpu => {
                    with_cuda && (build == self.choice(Some(gpus)).build || build.serves(gpus))
                }
                _ => self == Self::ForThisMachine || with_cuda,
            },
        };
        met.then_some(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn installed(version: &str, with_cuda: bool) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("torch/lib")).unwrap();
        fs::write(home.path().join("torch/version.py"), format!("__version__ = '{version}'\n")).unwrap();
        let library = format!("torch/lib/libtorch_cpu.{}", std::env::consts::DLL_EXTENSION);
        fs::write(home.path().join(library), "").unwrap();
        if with_cuda {
            fs::create_dir(home.path().join("nvidia_cudnn_cu13-9.19.0.56.dist-info")).unwrap();
        }
        home
    }

    #[test]
    fn what_is_there_stays_while_it_serves() {
        let a40 = Gpus::of_nvidia_smi("NVIDIA A40, 580.95.05, 8.6");
        let v100 = Gpus::of_nvidia_smi("Tesla V100-SXM2-32GB, 580.95.05, 7.0");
        let met = |wanted: Wanted, version, with_cuda, gpus: &Option<Gpus>| {
            wanted.is_met_by(installed(version, with_cuda).path(), gpus.as_ref()).is_some()
        };
        assert!(met(Wanted::Any, "2.11.0+cu130", false, &a40));
        assert!(!met(Wanted::Any, "2.10.0+cu130", true, &a40));
        assert!(met(Wanted::ForThisMachine, "2.11.0+cpu", false, &None));
        // The small set and a build without code for the card drive no GPU; one named by hand does.
        assert!(!met(Wanted::ForThisMachine, "2.11.0+cu130", false, &a40));
        assert!(met(Wanted::ForThisMachine, "2.11.0+cu130", true, &a40));
        assert!(met(Wanted::ForThisMachine, "2.11.0+cu126", true, &a40));
        assert!(!met(Wanted::ForThisMachine, "2.11.0+cu130", true, &v100));
        assert!(!met(Wanted::Exactly(Build::Cu126), "2.11.0+cu130", true, &a40));
        assert!(met(Wanted::Exactly(Build::Cpu), "2.11.0+cu130", false, &None));
        assert!(!met(Wanted::Cuda, "2.11.0+cpu", false, &None));
    }

    #[test]
    fn a_build_is_chosen_by_the_machine_unless_it_is_named() {
        let gpus = Gpus::of_nvidia_smi("NVIDIA A40, 535.183.01, 8.6");
        assert_eq!(Wanted::ForThisMachine.choice(gpus.as_ref()).build, Build::Cu126);
        assert_eq!(Wanted::ForThisMachine.choice(None).build, Build::Cpu);
        assert_eq!(Wanted::Cuda.choice(None).build, Build::Cu130);
        assert_eq!(Wanted::Exactly(Build::Cu128).choice(gpus.as_ref()).build, Build::Cu128);
    }
}
