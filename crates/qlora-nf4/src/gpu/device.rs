//! Kernels in use: each proves itself once on a device, and is left alone where it fails.

use std::sync::LazyLock;

use nn_core::TorchContext;
use tch::{Device, Kind, Tensor};
use torch_ext::kernel::Launch;

use super::error::KernelError;
use super::verdicts::Verdicts;
use super::{MATVEC4_NAMES, MATVEC8_NAMES, ROWS, launches, laws};
use crate::{Code4, Config4, QuantError, Tensor4, Tensor8};

static VERDICTS: LazyLock<Verdicts> = LazyLock::new(Verdicts::default);

/// Writes `weight` into `out` on its device; `false` where no kernel does.
pub(crate) fn dequantize_into(weight: &Tensor4, out: &Tensor) -> bool {
    weight.device() == out.device() && run(out.device(), launches::dequantize(weight, out))
}

/// `xs Wᵀ`, `[rows, inputs]` to `[rows, outputs]` in bfloat16; `None` where no kernel does it.
pub(crate) fn matvec4(weight: &Tensor4, xs: &Tensor) -> Result<Option<Tensor>, QuantError> {
    let (device, Some(&outputs)) = (weight.device(), weight.shape().first()) else { return Ok(None) };
    let Some(ys) = room(xs, outputs, device)? else { return Ok(None) };
    Ok(run(device, launches::matvec4(weight, xs, &ys)).then_some(ys))
}

/// As [`matvec4`], in 8 bits.
pub(crate) fn matvec8(weight: &Tensor8, xs: &Tensor) -> Result<Option<Tensor>, QuantError> {
    let device = weight.device();
    let Some(ys) = room(xs, weight.rows() as i64, device)? else { return Ok(None) };
    Ok(run(device, launches::matvec8(weight, xs, &ys)).then_some(ys))
}

/// Where the product of `xs` goes; `None` when it is not in bfloat16 or not on `device`.
fn room(xs: &Tensor, outputs: i64, device: Device) -> Result<Option<Tensor>, QuantError> {
    if xs.kind() != Kind::BFloat16 || xs.device() != device {
        return Ok(None);
    }
    let rows = xs.size().first().copied().unwrap_or(0);
    Ok(Some(Tensor::f_empty([rows, outputs], (Kind::BFloat16, device)).op("empty")?))
}

/// Codes `[n / 2, 1]` and scales of `weight`; `None` where no kernel makes them.
pub(crate) fn quantize(weight: &Tensor, config: Config4) -> Result<Option<(Tensor, Tensor)>, QuantError> {
    let (len, device) = (weight.numel() as i64, weight.device());
    if config.block_size != 64 || weight.kind() != Kind::BFloat16 || len % 64 != 0 {
        return Ok(None);
    }
    let packed = Tensor::f_empty([len / 2, 1], (Kind::Uint8, device)).op("empty")?;
    let scales = Tensor::f_empty([len / 64], (Kind::Float, device)).op("empty")?;
    let done = run(device, launches::quantize(weight, config.code, &packed, &scales));
    Ok(done.then_some((packed, scales)))
}

/// Whether the launch was done. A kernel that fails is not used again in this process.
fn run(device: Device, launch: Option<Launch<'_>>) -> bool {
    let (Device::Cuda(index), Some(launch)) = (device, launch) else { return false };
    let place = (index, launch.function);
    if !VERDICTS.usable(place, || prove(launch.function, device)) {
        return false;
    }
    #[expect(unsafe_code, reason = "a launch of a kernel of our own")]
    // SAFETY: `launches` builds the arguments that the kernel is written for, of tensors on this device.
    let done = unsafe { launch.run(index) };
    match done {
        Ok(()) => true,
        Err(error) => {
            VERDICTS.give_up(place, &error.into());
            false
        }
    }
}

/// Runs the laws of a kernel on small inputs.
fn prove(function: &str, device: Device) -> Result<(), KernelError> {
    let Device::Cuda(index) = device else { return Ok(()) };
    #[expect(unsafe_code, reason = "a launch of a kernel of our own")]
    // SAFETY: as in `run`.
    let run = |launch: &Launch<'_>| unsafe { launch.run(index) };
    let configs = [Config4::new(Code4::Nf4, false), Config4::new(Code4::Nf4, true)];
    let rows = |names: &[&str]| names.iter().position(|&name| name == function).map(|at| ROWS[at] as i64);
    tch::no_grad(|| {
        if let Some(rows) = rows(&MATVEC4_NAMES) {
            for config in configs {
                laws::multiplies4(config, [rows, 70, 1056], device, &run)?;
            }
            Ok(())
        } else if let Some(rows) = rows(&MATVEC8_NAMES) {
            laws::multiplies8([rows, 70, 1040], device, &run)
        } else if function == "nf4_quantize" {
            let xs = laws::numbers(&[70, 192], 6, device)?.f_to_kind(Kind::BFloat16).op("to_kind")?;
            laws::quantizes(&xs, configs[0], &run)
        } else {
            configs.into_iter().try_for_each(|config| laws::dequantizes(config, [70, 1056], device, &run))
        }
    })
}
