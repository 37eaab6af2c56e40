//! A matrix in 8 bits, as `LLM.int8()` has it (Dettmers et al., arXiv 2208.07339).

use nn_core::{TorchContext, TorchFailure};
use tch::{Device, Kind, Tensor};
use torch_ext::parallel;

use crate::cpu::{self, Format, Isa};
use crate::memory::Output;
use crate::tensor4::{Input, Target};
use crate::view::View8;
use crate::{QuantError, recycled};

/// Inputs of this magnitude are outliers (`LLM.int8()`, §3.2; bitsandbytes' and alpaca-lora's default).
pub const OUTLIER_THRESHOLD: f64 = 6.0;

/// Numbers that one task of a loop takes, about.
const TASK: usize = 1 << 14;

/// A matrix in 8 bits: whole numbers in `-127 ..= 127`, and the largest magnitude of each row.
///
/// As bitsandbytes does, the weight is rounded to float16 first. A row of zeros has scale 0 and zeros.
#[derive(Debug)]
pub struct Tensor8 {
    codes: Tensor,
    absmax: Tensor,
    kind: Kind,
}

impl Tensor8 {
    /// Quantises `weight`, `[out, in]` (float32, bfloat16 or float16).
    ///
    /// # Errors
    /// [`QuantError::NotAMatrix`], [`QuantError::Kind`], or [`QuantError::Torch`] when there is not the memory.
    pub fn quantize(weight: &Tensor) -> Result<Self, QuantError> {
        let kind = weight.f_kind().op("kind")?;
        if !matches!(kind, Kind::Float | Kind::BFloat16 | Kind::Half) {
            return Err(QuantError::Kind { actual: kind });
        }
        let [rows, columns] = weight.size()[..] else {
            return Err(QuantError::NotAMatrix { actual: weight.size() });
        };
        let weight = weight.f_detach().op("detach")?.f_contiguous().op("contiguous")?;
        let (codes, absmax) = if weight.device() == Device::Cpu {
            encode(&weight, rows as usize, columns as usize)?
        } else {
            encode_with_ops(&weight)?
        };
        Ok(Self { codes, absmax, kind })
    }

    pub(crate) fn from_parts(codes: Tensor, absmax: Tensor, kind: Kind) -> Self {
        Self { codes, absmax, kind }
    }

    /// `CB` of bitsandbytes: int8, `[out, in]`.
    pub fn codes(&self) -> &Tensor {
        &self.codes
    }

    /// `SCB` of bitsandbytes: float32, `[out]`.
    pub fn absmax(&self) -> &Tensor {
        &self.absmax
    }

    /// Kind of what was quantised.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it lies.
    pub fn device(&self) -> Device {
        self.codes.device()
    }

    /// Bytes that codes and scales take.
    pub fn num_bytes(&self) -> usize {
        self.codes.numel() + 4 * self.absmax.numel()
    }

    /// Another handle on the same codes.
    #[must_use]
    pub fn share(&self) -> Self {
        let (codes, absmax) = (self.codes.shallow_clone(), self.absmax.shallow_clone());
        Self { codes, absmax, kind: self.kind }
    }

    /// The same on another device.
    ///
    /// # Errors
    /// [`QuantError::Torch`] when there is not the memory.
    pub fn to_device(&self, device: Device) -> Result<Self, QuantError> {
        let (codes, absmax) = (self.codes.f_to(device).op("to")?, self.absmax.f_to(device).op("to")?);
        Ok(Self { codes, absmax, kind: self.kind })
    }

    /// Whether every scale is a number; a NaN, or what is infinite in float16, makes one that is not.
    ///
    /// # Errors
    /// [`QuantError::Torch`] when libtorch refuses.
    pub fn is_finite(&self) -> Result<bool, QuantError> {
        let finite = self.absmax.f_isfinite().op("isfinite")?.f_all().op("all")?;
        Ok(finite.f_int64_value(&[]).op("int64_value")? != 0)
    }

    /// What the codes stand for, `code * absmax / 127` in float32, rounded to `kind`: `[out, in]`.
    ///
    /// # Errors
    /// [`QuantError::Kind`] for a kind that is not floating point, [`QuantError::Torch`] when there is not the memory.
    pub fn dequantize(&self, kind: Kind) -> Result<Tensor, QuantError> {
        if self.device() != Device::Cpu {
            let scales = self.absmax.f_mul_scalar(1.0 / 127.0).op("mul")?.f_unsqueeze(1).op("unsqueeze")?;
            let values = self.codes.f_to_kind(Kind::Float).op("to_kind")?.f_mul(&scales).op("mul")?;
            return Ok(values.f_to_kind(kind).op("to_kind")?);
        }
        let mut out = recycled::empty(&self.codes.size(), kind)?;
        let (rows, columns) = (self.rows(), self.columns());
        let (view, target) = (View8::new(self), Target::new(&mut out, kind)?);
        parallel(rows, |range| {
            for row in range {
                view.decode(row, 0, target.part(row * columns, columns));
            }
        });
        Ok(out)
    }

    pub(crate) fn rows(&self) -> usize {
        self.absmax.numel()
    }

    pub(crate) fn columns(&self) -> usize {
        self.codes.numel() / self.rows().max(1)
    }

    /// The product as `LLM.int8()` takes it, in plain tensor operations: inputs quantised row by row, columns with an
    /// outlier apart in the kind of `xs`. `[rows, in]` to `[rows, out]`. Follows bitsandbytes' default backend
    /// (`backends/default/ops.py`), for whom wants its numbers; [`crate::QuantLinear`] leaves inputs exact, as
    /// bitsandbytes' `MatMul8bitFp` does, which is nearer to the dense product.
    ///
    /// # Errors
    /// [`QuantError::Torch`] when shapes do not fit.
    pub fn product_llm_int8(&self, xs: &Tensor, threshold: f64) -> Result<Tensor, QuantError> {
        Ok(self.llm_int8(xs, threshold)?)
    }

    fn llm_int8(&self, xs: &Tensor, threshold: f64) -> Result<Tensor, TorchFailure> {
        let kind = xs.f_kind().op("kind")?;
        let half = xs.f_to_kind(Kind::Half).op("to_kind")?;
        let outliers = half.f_abs().op("abs")?.f_ge(threshold).op("ge")?;
        let columns = outliers.f_any_dim(0, false).op("any")?.f_nonzero().op("nonzero")?;
        let columns = columns.f_reshape([-1i64]).op("reshape")?;
        let inner = half.f_masked_fill(&outliers, 0.0).op("masked_fill")?;
        let stats = inner.f_abs().op("abs")?.f_amax([1i64].as_slice(), true).op("amax")?;
        let stats = stats.f_to_kind(Kind::Float).op("to_kind")?; // [rows, 1]
        let factor = stats.f_reciprocal().op("reciprocal")?.f_mul_scalar(127.0).op("mul")?;
        let codes = inner.f_mul(&factor).op("mul")?.f_round().op("round")?;
        let codes = codes.f_nan_to_num(0.0, 0.0, 0.0).op("nan_to_num")?;
        let codes = codes.f_index_fill(1, &columns, 0.0).op("index_fill")?;
        // Sums of products of 8-bit numbers are whole, and exact in float64.
        let weight = self.codes.f_to_kind(Kind::Double).op("to_kind")?;
        let whole = codes.f_to_kind(Kind::Double).op("to_kind")?;
        let whole = whole.f_matmul(&weight.f_tr().op("tr")?).op("matmul")?;
        let whole = whole.f_to_kind(Kind::Float).op("to_kind")?;
        let scales = stats.f_mul(&self.absmax.f_unsqueeze(0).op("unsqueeze")?).op("mul")?;
        let product = whole.f_mul(&scales).op("mul")?.f_mul_scalar(6.200_124e-5).op("mul")?;
        let product = product.f_to_kind(kind).op("to_kind")?;
        if columns.numel() == 0 {
            return Ok(product);
        }
        let outer = xs.f_index_select(1, &columns).op("index_select")?;
        let weight = self.codes.f_index_select(1, &columns).op("index_select")?;
        let scales = self.absmax.f_mul_scalar(1.0 / 127.0).op("mul")?.f_unsqueeze(1).op("unsqueeze")?;
        let weight = weight.f_to_kind(Kind::Float).op("to_kind")?.f_mul(&scales).op("mul")?;
        let weight = weight.f_to_kind(kind).op("to_kind")?.f_tr().op("tr")?;
        product.f_addmm(&outer, &weight).op("addmm")
    }
}

fn encode(weight: &Tensor, rows: usize, columns: usize) -> Result<(Tensor, Tensor), TorchFailure> {
    let new = |shape: &[i64], kind| Tensor::f_empty(shape, (kind, Device::Cpu)).op("empty");
    let mut codes = new(&weight.size(), Kind::Int8)?;
    let mut absmax = new(&[rows as i64], Kind::Float)?;
    let (out, scales) = (Output::<i8>::new(&mut codes), Output::<f32>::new(&mut absmax));
    let input = Input::new(weight);
    let per_task = (TASK / columns.max(1)).max(1);
    parallel(rows.div_ceil(per_task), |tasks| {
        let (mut buffer, mut rounded) = (vec![0.0; columns], vec![0.0; columns]);
        for row in tasks.start * per_task..rows.min(tasks.end * per_task) {
            let xs = input.read(row * columns, columns, &mut buffer);
            let half = |&x: &f32| Format::Half.widen(Format::Half.narrow(x));
            rounded.iter_mut().zip(xs).for_each(|(out, x)| *out = half(x));
            #[expect(unsafe_code, reason = "each row is of one task")]
            // SAFETY: rows do not overlap.
            let (out, scale) = unsafe { (out.part(row * columns, columns), scales.part(row, 1)) };
            scale[0] = cpu::absmax(Isa::best(), &rounded);
            let factor = 1.0 / scale[0] * 127.0; // as torch computes `127.0 / tensor`
            // A cast of NaN is 0: a row of zeros stays one.
            out.iter_mut().zip(&rounded).for_each(|(out, x)| *out = (x * factor).round_ties_even() as i8);
        }
    });
    Ok((codes, absmax))
}

fn encode_with_ops(weight: &Tensor) -> Result<(Tensor, Tensor), TorchFailure> {
    let half = weight.f_to_kind(Kind::Half).op("to_kind")?.f_to_kind(Kind::Float).op("to_kind")?;
    let absmax = half.f_abs().op("abs")?.f_amax([1i64].as_slice(), true).op("amax")?;
    let factor = absmax.f_reciprocal().op("reciprocal")?.f_mul_scalar(127.0).op("mul")?;
    let codes = half.f_mul(&factor).op("mul")?.f_round().op("round")?.f_nan_to_num(0.0, 0.0, 0.0);
    let codes = codes.op("nan_to_num")?.f_to_kind(Kind::Int8).op("to_kind")?;
    Ok((codes, absmax.f_view([-1i64]).op("view")?))
}
