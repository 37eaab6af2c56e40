//! Kernels in use: each is checked once on a device, and not used where it fails.

use std::sync::LazyLock;

use tch::{Device, Kind, TchError, Tensor};

use super::checks::{self, TABLE, Way};
use super::kernel_status::KernelStatus;
use super::launches;
use super::sources::{KINDS, MATVEC4_NAMES, MATVEC8_NAMES, MAX_ROWS, NUMBERS8, ROWS};
use crate::cuda::Launch;
use crate::data::{Blocks4, Rows8};
use crate::error::KernelError;
use crate::simd::CodeTable;

pub(super) static STATUS: LazyLock<KernelStatus> = LazyLock::new(KernelStatus::default);

/// Writes `weight` into `out` on its device; `false` where no kernel does.
pub(crate) fn dequantize(weight: &Blocks4, out: &Tensor) -> bool {
    weight.device() == out.device() && run(out.device(), launches::dequantize(weight, out))
}

/// Does what [`dequantize`] does, in 8 bits, in the kind of `out`.
pub(crate) fn dequantize8(weight: &Rows8, out: &Tensor) -> bool {
    weight.device() == out.device() && run(out.device(), launches::dequantize8(weight, out))
}

/// Computes `xs Wᵀ`, `[rows, inputs]` to `[rows, outputs]` in bfloat16; `None` where no kernel does it.
pub(crate) fn product4(weight: &Blocks4, xs: &Tensor) -> Result<Option<Tensor>, TchError> {
    let (device, Some(&outputs)) = (weight.device(), weight.shape().first()) else { return Ok(None) };
    let Some((xs, ys)) = operands(xs, outputs, device)? else { return Ok(None) };
    Ok(run(device, launches::matvec4(weight, &xs, &ys)).then_some(ys))
}

/// Does what [`product4`] does, in 8 bits.
pub(crate) fn product8(weight: &Rows8, xs: &Tensor) -> Result<Option<Tensor>, TchError> {
    let device = weight.device();
    let Some((xs, ys)) = operands(xs, weight.rows() as i64, device)? else { return Ok(None) };
    Ok(run(device, launches::matvec8(weight, &xs, &ys)).then_some(ys))
}

/// Returns the inputs in one piece and room for their product; `None` when they are not in bfloat16, not on `device` or too many.
fn operands(xs: &Tensor, outputs: i64, device: Device) -> Result<Option<(Tensor, Tensor)>, TchError> {
    let rows = xs.size().first().copied().unwrap_or(0);
    if rows > MAX_ROWS as i64 || xs.kind() != Kind::BFloat16 || xs.device() != device {
        return Ok(None);
    }
    let ys = Tensor::f_empty([rows, outputs], (Kind::BFloat16, device))?;
    Ok(Some((xs.f_contiguous()?, ys)))
}

/// Computes codes `[n / 2, 1]` and scales of `xs`; `None` where no kernel makes them.
pub(crate) fn quantize(
    xs: &Tensor,
    table: &CodeTable,
    block_size: usize,
) -> Result<Option<(Tensor, Tensor)>, TchError> {
    let (len, device) = (xs.numel() as i64, xs.device());
    if block_size != 64 || xs.kind() != Kind::BFloat16 || len % 64 != 0 {
        return Ok(None);
    }
    let packed = Tensor::f_empty([len / 2, 1], (Kind::Uint8, device))?;
    let scales = Tensor::f_empty([len / 64], (Kind::Float, device))?;
    let done = run(device, launches::quantize(xs, table, &packed, &scales));
    Ok(done.then_some((packed, scales)))
}

/// Returns whether the launch was done. A kernel that fails is not used again in this process.
fn run(device: Device, launch: Option<Launch<'_>>) -> bool {
    let (Device::Cuda(index), Some(launch)) = (device, launch) else { return false };
    let place = (index, launch.function);
    if !STATUS.usable(place, || check(launch.function, device)) {
        return false;
    }
    match on(index)(&launch) {
        Ok(()) => true,
        Err(error) => {
            STATUS.give_up(place, &error);
            false
        }
    }
}

/// Runs launches on CUDA device `index`.
#[expect(unsafe_code, reason = "a launch of a kernel")]
pub(super) fn on(index: usize) -> impl Fn(&Launch<'_>) -> Result<(), KernelError> {
    // SAFETY: `launches` builds the arguments that the kernel is written for, of tensors on this device.
    move |launch| unsafe { launch.run(index) }
}

/// Runs the check of a kernel on small inputs.
fn check(function: &str, device: Device) -> Result<(), KernelError> {
    let Device::Cuda(index) = device else { return Ok(()) };
    let run = on(index);
    let ways = [false, true].map(|nested| Way { table: &TABLE, block_size: 64, nested });
    let rows = |names: &[&str]| names.iter().position(|&name| name == function).map(|at| ROWS[at] as i64);
    tch::no_grad(|| {
        if let Some(rows) = rows(&MATVEC4_NAMES) {
            ways.into_iter().try_for_each(|way| checks::multiplies4(way, [rows, 70, 1056], device, &run))
        } else if let Some(rows) = rows(&MATVEC8_NAMES) {
            checks::multiplies8([rows, 70, 1040], device, &run)
        } else if let Some(at) = NUMBERS8.iter().position(|&name| name == function) {
            checks::dequantizes8(KINDS[at], [70, 1056], device, &run)
        } else if function == "nf4_quantize" {
            let xs = checks::numbers(&[70, 192], 6, device)?.f_to_kind(Kind::BFloat16)?;
            checks::quantizes(&xs, ways[0], &run)
        } else {
            ways.into_iter().try_for_each(|way| checks::dequantizes(way, [70, 1056], device, &run))
        }
    })
}
