//! The device and the threads that a process computes with.

use std::fmt;
use std::str::FromStr;

use checkpoint::free_host_bytes;
use rayon::ThreadPoolBuilder;
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::FinetuneError;
use crate::nvidia_smi::{self, too_old};

/// A device as it is asked for: `auto`, `cpu`, `cuda` or `cuda:N`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum DeviceChoice {
    /// The first GPU where there is one, the CPU otherwise.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// This GPU, the first where no number was given.
    Cuda(Option<usize>),
}

impl DeviceChoice {
    /// Starts the device: loads CUDA when it is needed. Call it before any tensor is made.
    ///
    /// # Errors
    /// [`FinetuneError::NoCuda`] and [`FinetuneError::NoDevice`] when a GPU was asked for by name and cannot be used.
    pub fn start(self) -> Result<Device, FinetuneError> {
        let index = match self {
            Self::Cpu => return Ok(Device::Cpu),
            Self::Auto => 0,
            Self::Cuda(index) => index.unwrap_or(0),
        };
        match (self.cuda(index), self) {
            (Err(reason), Self::Auto) => {
                if !nvidia_smi::cards().is_empty() {
                    tracing::warn!("this machine has an NVIDIA GPU, but the CPU computes: {reason}");
                }
                Ok(Device::Cpu)
            }
            (result, _) => result,
        }
    }

    /// Chooses the device of one of several processes: where none is named by number, the GPU of its number on its machine, or the
    /// only one where its launcher shows it no other.
    ///
    /// # Errors
    /// [`FinetuneError::NoDevice`] when its machine has fewer GPUs than processes.
    pub fn of_process(self, local_rank: usize) -> Result<Self, FinetuneError> {
        let count = match self {
            Self::Auto | Self::Cuda(None) => torch_ext::cuda::device_count().unwrap_or(0),
            Self::Cpu | Self::Cuda(Some(_)) => return Ok(self),
        };
        match (count, self) {
            (0, _) => Ok(self),
            (1, _) => Ok(Self::Cuda(Some(0))),
            _ if local_rank < count => Ok(Self::Cuda(Some(local_rank))),
            _ => Err(FinetuneError::NoDevice {
                device: format!("cuda:{local_rank}"),
                count,
                reason: "start one process for each GPU".to_owned(),
            }),
        }
    }

    /// Checks that CUDA device `index` can be used.
    fn cuda(self, index: usize) -> Result<Device, FinetuneError> {
        let count = torch_ext::cuda::device_count().map_err(FinetuneError::NoCuda)?;
        if index < count {
            return Ok(Device::Cuda(index));
        }
        let cards = nvidia_smi::cards();
        let old = cards.first().zip(libtorch_cuda()).and_then(|(card, cuda)| too_old(&card.driver, &cuda));
        let reason = old.unwrap_or_else(|| match count {
            0 if cards.is_empty() => "`nvidia-smi` shows no GPU: is the driver installed?".to_owned(),
            0 => "`nvidia-smi` shows a GPU that CUDA does not: is CUDA_VISIBLE_DEVICES set?".to_owned(),
            _ => format!("the last is cuda:{}", count - 1),
        });
        Err(FinetuneError::NoDevice { device: self.to_string(), count, reason })
    }
}

/// Reads the version of CUDA that the libtorch in use is built with, such as 13.0.
fn libtorch_cuda() -> Option<String> {
    let version = std::fs::read_to_string(torch_ext::cuda::torch_dir()?.join("version.py")).ok()?;
    let line = version.lines().find(|line| line.starts_with("cuda:"))?;
    Some(line.split('\'').nth(1)?.to_owned())
}

impl FromStr for DeviceChoice {
    type Err = FinetuneError;

    fn from_str(text: &str) -> Result<Self, FinetuneError> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(None)),
            other => other
                .strip_prefix("cuda:")
                .and_then(|index| index.parse().ok())
                .map(|index| Self::Cuda(Some(index)))
                .ok_or_else(|| FinetuneError::Setting {
                    name: "device",
                    actual: text.to_owned(),
                    expected: "auto, cpu, cuda or cuda:N",
                }),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(None) => f.write_str("cuda"),
            Self::Cuda(Some(index)) => write!(f, "cuda:{index}"),
        }
    }
}

impl From<Device> for DeviceChoice {
    fn from(device: Device) -> Self {
        match device {
            Device::Cuda(index) => Self::Cuda(Some(index)),
            _ => Self::Cpu,
        }
    }
}

impl From<DeviceChoice> for String {
    fn from(device: DeviceChoice) -> Self {
        device.to_string()
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = FinetuneError;

    fn try_from(text: String) -> Result<Self, FinetuneError> {
        text.parse()
    }
}

/// Returns the most memory that tensors held at one time on a CUDA device, in MiB, summed over those among `devices`; `None`
/// without any.
///
/// # Errors
/// [`FinetuneError::Extension`] when the allocator's statistics cannot be read.
pub fn peak_device_mib(devices: &[Device]) -> Result<Option<u64>, FinetuneError> {
    let mut sum = None;
    for device in devices {
        if let Device::Cuda(index) = device {
            sum = Some(sum.unwrap_or(0) + (torch_ext::cuda::memory(*index)?.peak_bytes >> 20));
        }
    }
    Ok(sum)
}

/// Returns the most memory that this process has held, in MiB.
pub fn peak_host_mib() -> u64 {
    torch_ext::process_memory().peak_bytes >> 20
}

/// Reads the free memory of a device in bytes, of the CPU the host's; `None` where nobody says it.
pub fn free_bytes(device: Device) -> Option<f64> {
    match device {
        Device::Cuda(index) => free_gpu_bytes(index),
        _ => free_host_bytes().map(|bytes| bytes as f64),
    }
}

/// Reads the free memory of CUDA device `index` from NVIDIA's tool, in bytes; `None` without such a GPU or the tool. CUDA is not
/// loaded.
fn free_gpu_bytes(index: usize) -> Option<f64> {
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
    nvidia_smi::visible(&nvidia_smi::cards(), visible.as_deref(), index).map(|card| card.free)
}

/// Reads the free memory of each CUDA device, in bytes: from CUDA, which is loaded, or from NVIDIA's tool where that cannot be used.
pub(crate) fn free_of_gpus() -> Vec<f64> {
    let count = torch_ext::cuda::device_count().unwrap_or(0);
    let of_cuda = (0..count).map(|index| torch_ext::cuda::free_bytes(index).map(|bytes| bytes as f64));
    let of_cuda: Vec<f64> = of_cuda.collect::<Option<_>>().unwrap_or_default();
    if of_cuda.is_empty() { (0..).map_while(free_gpu_bytes).collect() } else { of_cuda }
}

/// The most threads that are started.
const MAX_THREADS: usize = 4096;

/// Sets the number of CPU threads of libtorch and of tokenising; all cores when `threads` is absent.
///
/// # Errors
/// [`FinetuneError::NoThreads`] for 0, [`FinetuneError::Threads`] when the threads run already.
pub fn set_threads(threads: Option<usize>) -> Result<(), FinetuneError> {
    match threads {
        None => Ok(()),
        Some(0) => Err(FinetuneError::NoThreads),
        Some(threads) if threads > MAX_THREADS => Err(FinetuneError::Setting {
            name: "threads",
            actual: threads.to_string(),
            expected: "at least 1 and at most 4096",
        }),
        Some(threads) => {
            tch::set_num_threads(threads as i32);
            ThreadPoolBuilder::new().num_threads(threads).build_global().map_err(FinetuneError::Threads)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_written_as_it_was_read() {
        for text in ["auto", "cpu", "cuda", "cuda:0", "cuda:3"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        for text in ["gpu", "cuda:", "cuda:x", "CPU", ""] {
            let error = text.parse::<DeviceChoice>().unwrap_err();
            assert!(error.is_usage() && error.to_string().contains("cuda:N"), "{error}");
        }
    }
}
