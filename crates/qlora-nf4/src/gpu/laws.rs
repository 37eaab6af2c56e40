//! What a kernel has to give: what the same gives in tensor operations ([`crate::twin`]).

use nn_core::TorchContext;
use tch::{Device, Kind, Tensor};
use torch_ext::ExtError;
use torch_ext::kernel::Launch;

use super::error::KernelError;
use super::launches;
use crate::{Config4, Tensor4, Tensor8, twin};

/// Runs a launch to its end: on a device, or in the emulator.
pub(super) type Run<'r> = dyn Fn(&Launch<'_>) -> Result<(), ExtError> + 'r;

/// How far a product may be off, as a part of the largest: a step of bfloat16, of which rounding takes half.
const TOLERANCE: f64 = 1.0 / 256.0;

/// Numbers behind a result that have to stay as they are.
const GUARD: i64 = 64;
const GUARD_VALUE: f64 = 77.0;

/// Bit for bit what [`twin::dequantize4`] gives.
pub(super) fn dequantizes(
    config: Config4,
    shape: [i64; 2],
    device: Device,
    run: &Run<'_>,
) -> Result<(), KernelError> {
    let weight = Tensor4::quantize(&numbers(&shape, 1, Device::Cpu)?, config)?.to_device(device)?;
    let expected = twin::dequantize4(&weight, Kind::BFloat16)?;
    let guarded = Guarded::new(&shape, Kind::BFloat16, device)?;
    follow(launches::dequantize(&weight, &guarded.part), "nf4_dequantize", run)?;
    guarded.check("nf4_dequantize")?;
    within("nf4_dequantize", &guarded.part, &expected, 0.0)
}

/// The product of dequantised numbers in float32, up to the rounding of the result.
pub(super) fn multiplies4(
    config: Config4,
    [rows, outputs, inputs]: [i64; 3],
    device: Device,
    run: &Run<'_>,
) -> Result<(), KernelError> {
    let weight =
        Tensor4::quantize(&numbers(&[outputs, inputs], 2, Device::Cpu)?, config)?.to_device(device)?;
    let xs = numbers(&[rows, inputs], 3, device)?.f_to_kind(Kind::BFloat16).op("to_kind")?;
    let guarded = Guarded::new(&[rows, outputs], Kind::BFloat16, device)?;
    follow(launches::matvec4(&weight, &xs, &guarded.part), "nf4_matvec", run)?;
    guarded.check("nf4_matvec")?;
    let dense = twin::dequantize4(&weight, Kind::Float)?;
    within("nf4_matvec", &guarded.part, &product(&xs, &dense)?, TOLERANCE)
}

/// As [`multiplies4`], in 8 bits.
pub(super) fn multiplies8(
    [rows, outputs, inputs]: [i64; 3],
    device: Device,
    run: &Run<'_>,
) -> Result<(), KernelError> {
    let weight = Tensor8::quantize(&numbers(&[outputs, inputs], 4, Device::Cpu)?)?.to_device(device)?;
    let xs = numbers(&[rows, inputs], 5, device)?.f_to_kind(Kind::BFloat16).op("to_kind")?;
    let guarded = Guarded::new(&[rows, outputs], Kind::BFloat16, device)?;
    follow(launches::matvec8(&weight, &xs, &guarded.part), "int8_matvec", run)?;
    guarded.check("int8_matvec")?;
    // On a device this is tensor operations.
    let dense = weight.dequantize(Kind::Float)?;
    within("int8_matvec", &guarded.part, &product(&xs, &dense)?, TOLERANCE)
}

/// The codes and scales of [`twin::quantize4`]. `xs`: bfloat16, whole blocks of 64.
pub(super) fn quantizes(xs: &Tensor, config: Config4, run: &Run<'_>) -> Result<(), KernelError> {
    let (len, device) = (xs.numel() as i64, xs.device());
    let packed = Guarded::new(&[len / 2], Kind::Uint8, device)?;
    let scales = Guarded::new(&[len / 64], Kind::Float, device)?;
    follow(launches::quantize(xs, config.code, &packed.part, &scales.part), "nf4_quantize", run)?;
    packed.check("nf4_quantize")?;
    scales.check("nf4_quantize")?;
    let (codes, absmax) = twin::quantize4(xs, config)?;
    within("nf4_quantize", &packed.part, &codes.f_view([-1i64]).op("view")?, 0.0)?;
    within("nf4_quantize", &scales.part, &absmax, 0.0)
}

/// Numbers of about one that look random and are the same each time; libtorch's generators are left alone.
pub(super) fn numbers(shape: &[i64], seed: u32, device: Device) -> Result<Tensor, KernelError> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        f64::from(state) / f64::from(u32::MAX) * 2.0 - 1.0
    };
    let len = shape.iter().product::<i64>() as usize;
    let values: Vec<f32> = (0..len).map(|_| (uniform() + uniform() + uniform()) as f32).collect();
    let flat = Tensor::f_from_slice(&values).op("from_slice")?;
    Ok(flat.f_view(shape).op("view")?.f_to(device).op("to")?)
}

/// A tensor with something behind it that nobody may write to.
struct Guarded {
    whole: Tensor,
    part: Tensor,
}

impl Guarded {
    fn new(shape: &[i64], kind: Kind, device: Device) -> Result<Self, KernelError> {
        let len = shape.iter().product::<i64>();
        let whole = Tensor::f_full([len + GUARD], GUARD_VALUE, (kind, device)).op("full")?;
        let part = whole.f_narrow(0, 0, len).op("narrow")?.f_view(shape).op("view")?;
        Ok(Self { whole, part })
    }

    fn check(&self, kernel: &'static str) -> Result<(), KernelError> {
        let behind = self.whole.f_narrow(0, self.part.numel() as i64, GUARD).op("narrow")?;
        let whole =
            behind.f_eq(GUARD_VALUE).op("eq")?.f_all().op("all")?.f_int64_value(&[]).op("int64_value")?;
        if whole == 1 { Ok(()) } else { Err(KernelError::Outside { kernel }) }
    }
}

fn follow(launch: Option<Launch<'_>>, kernel: &'static str, run: &Run<'_>) -> Result<(), KernelError> {
    Ok(run(&launch.ok_or(KernelError::Shape { kernel })?)?)
}

fn product(xs: &Tensor, dense: &Tensor) -> Result<Tensor, KernelError> {
    let xs = xs.f_to_kind(Kind::Float).op("to_kind")?;
    Ok(xs.f_matmul(&dense.f_tr().op("tr")?).op("matmul")?)
}

/// Whether two tensors differ by no more than `tolerance` times the largest expected; NaN is equal to NaN.
fn within(
    kernel: &'static str,
    actual: &Tensor,
    expected: &Tensor,
    tolerance: f64,
) -> Result<(), KernelError> {
    let double = |xs: &Tensor| xs.f_to_kind(Kind::Double).op("to_kind")?.f_view([-1i64]).op("view");
    let (actual, expected) = (double(actual)?, double(expected)?);
    let largest = |xs: &Tensor| {
        let finite = xs.f_nan_to_num(0.0, 0.0, 0.0).op("nan_to_num")?;
        finite.f_abs().op("abs")?.f_max().op("max")?.f_double_value(&[]).op("double_value")
    };
    let near = actual.f_isclose(&expected, 0.0, tolerance * largest(&expected)?, true).op("isclose")?;
    let off = near.f_logical_not().op("logical_not")?.f_sum(Kind::Int64).op("sum")?;
    match off.f_int64_value(&[]).op("int64_value")? {
        0 => Ok(()),
        off => Err(KernelError::Off { kernel, off, of: actual.numel() }),
    }
}
