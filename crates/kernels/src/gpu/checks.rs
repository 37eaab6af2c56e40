//! Checks of kernels: each has to give what the same gives in tensor operations ([`reference`]).

use tch::{Device, Kind, TchError, Tensor};

use super::launches;
use crate::cuda::Launch;
use crate::data::{Blocks4, Rows8, Scales};
use crate::error::KernelError;
use crate::reference;
use crate::simd::CodeTable;

/// Runs a launch to its end: on a device, or in the emulator.
pub(super) type Run<'r> = dyn Fn(&Launch<'_>) -> Result<(), KernelError> + 'r;

/// A way of quantising to 4 bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) table: &'static CodeTable,
    pub(crate) block_size: usize,
    pub(crate) nested: bool,
}

/// Values that are far from those of any other code, in no order.
pub(super) static TABLE: CodeTable =
    CodeTable::new([0.1, -0.9, 0.7, -0.3, 1.0, 0.5, -0.6, 0.3, -1.0, 0.0, -0.1, 0.9, 0.2, -0.5, 0.8, -0.2]);

/// Largest error of a product, as a part of the largest expected one: a step of bfloat16, of which rounding takes half.
const TOLERANCE: f64 = 1.0 / 256.0;

/// Numbers behind a result that have to stay as they are.
const GUARD: i64 = 64;
const GUARD_VALUE: f64 = 77.0;

impl Way {
    /// Quantises `xs` so.
    pub(super) fn quantize(self, xs: &Tensor) -> Result<Blocks4, TchError> {
        let (packed, scales) = reference::quantize4(xs, self.table, self.block_size)?;
        let scales = if self.nested { Scales::nest(&scales)? } else { Scales::Plain(scales) };
        Ok(Blocks4::from_parts(packed, scales, self.table, self.block_size, xs.size()))
    }
}

/// Checks for the bits that [`reference::dequantize4`] gives.
pub(super) fn dequantizes(
    way: Way,
    shape: [i64; 2],
    device: Device,
    run: &Run<'_>,
) -> Result<(), KernelError> {
    let weight = way.quantize(&numbers(&shape, 1, Device::Cpu)?)?.to_device(device)?;
    let expected = reference::dequantize4(&weight, Kind::BFloat16)?;
    let guarded = Guarded::new(&shape, Kind::BFloat16, device)?;
    launch(launches::dequantize(&weight, &guarded.part), "nf4_dequantize", run)?;
    guarded.check("nf4_dequantize")?;
    within("nf4_dequantize", &guarded.part, &expected, 0.0)
}

/// Does what [`dequantizes`] does, in 8 bits, of numbers in `kind`.
pub(super) fn dequantizes8(
    kind: Kind,
    shape: [i64; 2],
    device: Device,
    run: &Run<'_>,
) -> Result<(), KernelError> {
    let (codes, absmax) = reference::quantize8(&numbers(&shape, 1, device)?)?;
    let weight = Rows8::from_parts(codes, absmax);
    let guarded = Guarded::new(&shape, kind, device)?;
    launch(launches::dequantize8(&weight, &guarded.part), "int8_dequantize", run)?;
    guarded.check("int8_dequantize")?;
    within("int8_dequantize", &guarded.part, &reference::dequantize8(&weight, kind)?, 0.0)
}

/// Checks for the product of dequantised numbers in float32, up to the rounding of the result.
pub(super) fn multiplies4(
    way: Way,
    [rows, outputs, inputs]: [i64; 3],
    device: Device,
    run: &Run<'_>,
) -> Result<(), KernelError> {
    let weight = way.quantize(&numbers(&[outputs, inputs], 2, Device::Cpu)?)?.to_device(device)?;
    let xs = numbers(&[rows, inputs], 3, device)?.f_to_kind(Kind::BFloat16)?;
    let guarded = Guarded::new(&[rows, outputs], Kind::BFloat16, device)?;
    launch(launches::matvec4(&weight, &xs, &guarded.part), "nf4_matvec", run)?;
    guarded.check("nf4_matvec")?;
    let dense = reference::dequantize4(&weight, Kind::Float)?;
    within("nf4_matvec", &guarded.part, &product(&xs, &dense)?, TOLERANCE)
}

/// Does what [`multiplies4`] does, in 8 bits.
pub(super) fn multiplies8(
    [rows, outputs, inputs]: [i64; 3],
    device: Device,
    run: &Run<'_>,
) -> Result<(), KernelError> {
    let (codes, absmax) = reference::quantize8(&numbers(&[outputs, inputs], 4, device)?)?;
    let weight = Rows8::from_parts(codes, absmax);
    let xs = numbers(&[rows, inputs], 5, device)?.f_to_kind(Kind::BFloat16)?;
    let guarded = Guarded::new(&[rows, outputs], Kind::BFloat16, device)?;
    launch(launches::matvec8(&weight, &xs, &guarded.part), "int8_matvec", run)?;
    guarded.check("int8_matvec")?;
    let dense = reference::dequantize8(&weight, Kind::Float)?;
    within("int8_matvec", &guarded.part, &product(&xs, &dense)?, TOLERANCE)
}

/// Checks for the codes and scales of [`reference::quantize4`]. `xs`: bfloat16, whole blocks of 64.
pub(super) fn quantizes(xs: &Tensor, way: Way, run: &Run<'_>) -> Result<(), KernelError> {
    let (len, device) = (xs.numel() as i64, xs.device());
    let packed = Guarded::new(&[len / 2], Kind::Uint8, device)?;
    let scales = Guarded::new(&[len / 64], Kind::Float, device)?;
    launch(launches::quantize(xs, way.table, &packed.part, &scales.part), "nf4_quantize", run)?;
    packed.check("nf4_quantize")?;
    scales.check("nf4_quantize")?;
    let (codes, absmax) = reference::quantize4(xs, way.table, way.block_size)?;
    within("nf4_quantize", &packed.part, &codes.f_view([-1i64])?, 0.0)?;
    within("nf4_quantize", &scales.part, &absmax, 0.0)
}

/// Makes numbers of about one that look random and are the same each time; libtorch's generators are left alone.
pub(crate) fn numbers(shape: &[i64], seed: u32, device: Device) -> Result<Tensor, TchError> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        f64::from(state) / f64::from(u32::MAX) * 2.0 - 1.0
    };
    let len = shape.iter().product::<i64>() as usize;
    let values: Vec<f32> = (0..len).map(|_| (uniform() + uniform() + uniform()) as f32).collect();
    let flat = Tensor::f_from_slice(&values)?;
    flat.f_view(shape)?.f_to(device)
}

/// A tensor with something behind it that nobody may write to.
pub(super) struct Guarded {
    whole: Tensor,
    pub(super) part: Tensor,
}

impl Guarded {
    pub(super) fn new(shape: &[i64], kind: Kind, device: Device) -> Result<Self, TchError> {
        let len = shape.iter().product::<i64>();
        let whole = Tensor::f_full([len + GUARD], GUARD_VALUE, (kind, device))?;
        let part = whole.f_narrow(0, 0, len)?.f_view(shape)?;
        Ok(Self { whole, part })
    }

    pub(super) fn check(&self, kernel: &'static str) -> Result<(), KernelError> {
        let behind = self.whole.f_narrow(0, self.part.numel() as i64, GUARD)?;
        let whole = behind.f_eq(GUARD_VALUE)?.f_all()?.f_int64_value(&[])?;
        if whole == 1 { Ok(()) } else { Err(KernelError::Outside { kernel }) }
    }
}

pub(super) fn launch(
    launch: Option<Launch<'_>>,
    kernel: &'static str,
    run: &Run<'_>,
) -> Result<(), KernelError> {
    run(&launch.ok_or(KernelError::Shape { kernel })?)
}

fn product(xs: &Tensor, dense: &Tensor) -> Result<Tensor, TchError> {
    xs.f_to_kind(Kind::Float)?.f_matmul(&dense.f_tr()?)
}

/// Checks that two tensors differ by no more than `tolerance` times the largest expected; NaN is equal to NaN.
pub(crate) fn within(
    kernel: &'static str,
    actual: &Tensor,
    expected: &Tensor,
    tolerance: f64,
) -> Result<(), KernelError> {
    let double = |xs: &Tensor| xs.f_to_kind(Kind::Double)?.f_view([-1i64]);
    let (actual, expected) = (double(actual)?, double(expected)?);
    let largest = |xs: &Tensor| {
        let finite = xs.f_nan_to_num(0.0, 0.0, 0.0)?;
        finite.f_abs()?.f_max()?.f_double_value(&[])
    };
    let near = actual.f_isclose(&expected, 0.0, tolerance * largest(&expected)?, true)?;
    let off = near.f_logical_not()?.f_sum(Kind::Int64)?;
    match off.f_int64_value(&[])? {
        0 => Ok(()),
        off => Err(KernelError::Off { kernel, off, of: actual.numel() }),
    }
}

/// Ways that differ in table, block size and nesting.
#[cfg(test)]
pub(crate) fn ways() -> Vec<Way> {
    static OTHER: CodeTable = CodeTable::new([
        -1.0, -0.7, -0.52, -0.39, -0.28, -0.18, -0.09, 0.0, 0.08, 0.16, 0.25, 0.34, 0.44, 0.56, 0.72, 1.0,
    ]);
    let way = |table, block_size, nested| Way { table, block_size, nested };
    vec![
        way(&OTHER, 64, false),
        way(&OTHER, 64, true),
        way(&OTHER, 32, true),
        way(&OTHER, 256, false),
        way(&TABLE, 64, true),
    ]
}

/// Makes bfloat16 with what quantising finds hard: ties, zeros, infinities and NaN, each in a block of its own.
#[cfg(test)]
pub(crate) fn hard_numbers(device: Device) -> Tensor {
    let xs = numbers(&[70, 192], 9, Device::Cpu).unwrap();
    let flat = xs.view([-1]);
    let put = |block: i64, values: &Tensor| flat.narrow(0, block * 64, values.numel() as i64).copy_(values);
    put(3, &Tensor::zeros([64], (Kind::Float, Device::Cpu)));
    put(5, &Tensor::from_slice(&[f32::INFINITY]));
    put(7, &Tensor::from_slice(&[1.0, f32::NAN]));
    put(8, &Tensor::from_slice(&ways()[0].table.bounds()));
    put(9, &Tensor::from_slice(&[1e-40f32; 64]));
    put(10, &(Tensor::from_slice(&[3e38f32]).repeat([64])));
    xs.to_kind(Kind::BFloat16).to(device)
}
