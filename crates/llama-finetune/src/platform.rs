//! What a program stands on: the libtorch it runs with, and the processor.

use std::fmt;
use std::path::PathBuf;

/// The libtorch that this process runs with, and the instructions of its processor. Displays as lines for `--version`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Platform {
    /// Version of libtorch.
    pub libtorch: Option<String>,
    /// Version of CUDA that libtorch was built for; `None` for a CPU's.
    pub cuda: Option<String>,
    /// The directory `torch` or `libtorch` that libtorch was found in.
    pub torch_dir: Option<PathBuf>,
    /// True where libtorch's CUDA library lies there.
    pub has_cuda_library: bool,
    /// Instructions of the processor that loops are written for.
    pub cpu_features: Vec<&'static str>,
}

impl Platform {
    /// Asks libtorch and the processor. Starts no device.
    pub fn of_this_process() -> Self {
        let torch_dir = torch_ext::cuda::torch_dir();
        let library = |dir: &PathBuf| dir.join("lib/libtorch_cuda.so").exists();
        Self {
            libtorch: torch_ext::setting("TORCH_VERSION"),
            cuda: torch_ext::setting("CUDA_VERSION"),
            has_cuda_library: torch_dir.as_ref().is_some_and(library),
            torch_dir,
            cpu_features: cpu_features(),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.libtorch.as_deref().unwrap_or("of an unknown version");
        write!(f, "libtorch {version}")?;
        if let Some(dir) = &self.torch_dir {
            write!(f, " in {}", dir.display())?;
        }
        match &self.cuda {
            Some(cuda) if self.has_cuda_library => writeln!(f, "\nCUDA {cuda}")?,
            Some(cuda) => writeln!(f, "\nCUDA none: the CUDA {cuda} library is not beside this libtorch")?,
            None => writeln!(f, "\nCUDA none: this libtorch is for CPUs")?,
        }
        write!(f, "CPU {}", std::env::consts::ARCH)?;
        self.cpu_features.iter().try_for_each(|feature| write!(f, " {feature}"))
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Vec<&'static str> {
    let all = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512dq", is_x86_feature_detected!("avx512dq")),
        ("avx512vl", is_x86_feature_detected!("avx512vl")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
    ];
    all.into_iter().filter_map(|(name, is_there)| is_there.then_some(name)).collect()
}

#[cfg(target_arch = "aarch64")]
fn cpu_features() -> Vec<&'static str> {
    let all = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("fp16", std::arch::is_aarch64_feature_detected!("fp16")),
        ("bf16", std::arch::is_aarch64_feature_detected!("bf16")),
    ];
    all.into_iter().filter_map(|(name, is_there)| is_there.then_some(name)).collect()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn cpu_features() -> Vec<&'static str> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(cuda: Option<&str>, has_cuda_library: bool) -> String {
        let (libtorch, torch_dir) = (Some("2.11.0".to_owned()), Some(PathBuf::from("/opt/torch")));
        let cuda = cuda.map(str::to_owned);
        let cpu_features = vec!["avx2"];
        Platform { libtorch, cuda, torch_dir, has_cuda_library, cpu_features }.to_string()
    }

    #[test]
    fn a_libtorch_without_its_cuda_library_is_not_called_one_with_cuda() {
        assert!(platform(Some("13.0"), true).contains("libtorch 2.11.0 in /opt/torch\nCUDA 13.0\nCPU "));
        assert!(platform(Some("13.0"), false).contains("\nCUDA none: the CUDA 13.0 library"));
        assert!(platform(None, false).ends_with(&format!("for CPUs\nCPU {} avx2", std::env::consts::ARCH)));
    }

    #[test]
    fn this_process_knows_its_libtorch() {
        let here = Platform::of_this_process();
        assert_eq!(here.libtorch.as_deref(), Some("2.11.0"));
        assert!(here.torch_dir.is_some_and(|dir| dir.join("lib").is_dir()));
    }
}
