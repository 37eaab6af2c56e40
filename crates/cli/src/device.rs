//! Where a program computes, and how precisely.

use anyhow::Result;
use llama_finetune::DeviceChoice;
use tch::{Device, Kind};

pub use llama_finetune::{peak_device_mib, peak_host_mib, set_threads};

use crate::exit::usage;

/// Starts the device named `auto`, `cpu`, `cuda` or `cuda:N`. Call it before any tensor is made.
///
/// # Errors
/// When CUDA is asked for and is not there, with the reason.
pub fn start(name: &str) -> Result<Device> {
    Ok(name.parse::<DeviceChoice>()?.start()?)
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
