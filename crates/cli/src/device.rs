//! Where a program computes, and how precisely.

use anyhow::{Context, Result};
use rayon::ThreadPoolBuilder;
use tch::{Cuda, Device, Kind};

use crate::exit::usage;

/// Turns `auto`, `cpu`, `cuda` or `cuda:N` into a device, starting CUDA when it is needed. Call it before any tensor is
/// made.
///
/// # Errors
/// When CUDA is asked for and is not there, with the reason.
pub fn start(name: &str) -> Result<Device> {
    let index = match name {
        "cpu" => return Ok(Device::Cpu),
        "auto" | "cuda" => 0,
        other => other
            .strip_prefix("cuda:")
            .and_then(|index| index.parse::<usize>().ok())
            .ok_or_else(|| usage(format!("device is `{name}`; expected auto, cpu, cuda or cuda:N")))?,
    };
    if let Err(reason) = torch_ext::cuda::load() {
        if name == "auto" {
            return Ok(Device::Cpu);
        }
        return Err(reason).context(
            "CUDA was asked for, but the libtorch in use has none (`cargo xtask setup --cuda` installs one that has)",
        );
    }
    let count = Cuda::device_count();
    if Cuda::is_available() && (index as i64) < count {
        return Ok(Device::Cuda(index));
    }
    if name == "auto" {
        return Ok(Device::Cpu);
    }
    Err(usage(format!(
        "device is `{name}`, but this machine shows {count} CUDA devices (is the driver installed?)"
    )))
}

/// The name of a device as the flags spell it.
pub fn name(device: Device) -> String {
    match device {
        Device::Cpu => "cpu".to_owned(),
        Device::Cuda(index) => format!("cuda:{index}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// A precision by its PyTorch name; `None` for `auto`.
///
/// # Errors
/// For a name that is no floating-point precision.
pub fn parse_kind(name: &str) -> Result<Option<Kind>> {
    match name {
        "auto" => Ok(None),
        "float32" | "fp32" | "f32" => Ok(Some(Kind::Float)),
        "bfloat16" | "bf16" => Ok(Some(Kind::BFloat16)),
        "float16" | "fp16" | "f16" => Ok(Some(Kind::Half)),
        _ => Err(usage(format!("dtype is `{name}`; expected auto, float32, bfloat16 or float16"))),
    }
}

/// PyTorch's name of a precision.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Float => "float32",
        Kind::BFloat16 => "bfloat16",
        Kind::Half => "float16",
        _ => "another dtype",
    }
}

/// The precision of the frozen weights when the user leaves it open: bfloat16 on a GPU. On a CPU float32, which is the
/// fastest there, where the model then takes at most half of the free memory; otherwise bfloat16, which needs no copy of
/// a checkpoint in that precision.
pub fn auto_kind(device: Device, num_parameters: i64) -> Kind {
    if device.is_cuda() {
        return Kind::BFloat16;
    }
    let fits = free_host_bytes().is_none_or(|free| num_parameters as u64 * 4 <= free / 2);
    if fits { Kind::Float } else { Kind::BFloat16 }
}

/// Host memory that can be had without swapping, in bytes.
pub fn free_host_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Free memory of the first NVIDIA GPU, as the driver's own tool says.
pub fn free_gpu_bytes() -> Option<f64> {
    let output = std::process::Command::new("nvidia-smi")
        .args(["--query-gpu=memory.free", "--format=csv,noheader,nounits"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.lines().next()?.trim().parse::<f64>().ok()? * f64::from(1 << 20))
}

/// The most that tensors held at a time on a CUDA device, in MiB; `None` on any other.
///
/// # Errors
/// When the allocator's statistics cannot be had.
pub fn peak_device_mib(device: Device) -> Result<Option<u64>> {
    match device {
        Device::Cuda(index) => Ok(Some(torch_ext::cuda::memory(index)?.peak_bytes >> 20)),
        _ => Ok(None),
    }
}

/// Sets how many threads libtorch and the tokenising use; all cores when `threads` is absent.
///
/// # Errors
/// For no thread at all.
pub fn set_threads(threads: Option<usize>) -> Result<()> {
    match threads {
        None => Ok(()),
        Some(0) => Err(usage("threads is 0; expected at least 1")),
        Some(threads) => {
            tch::set_num_threads(threads as i32);
            ThreadPoolBuilder::new()
                .num_threads(threads)
                .build_global()
                .context("cannot set the number of threads")
        }
    }
}
