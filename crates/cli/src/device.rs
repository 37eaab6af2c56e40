//! Where a program computes, and how precisely.

use anyhow::Result;
use llama_finetune::DeviceChoice;
use tch::{Device, Kind};

pub use llama_finetune::{peak_device_mib, peak_host_mib, set_threads};

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

/// PyTorch's name of a precision.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Float => "float32",
        Kind::BFloat16 => "bfloat16",
        Kind::Half => "float16",
        _ => "another dtype",
    }
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
