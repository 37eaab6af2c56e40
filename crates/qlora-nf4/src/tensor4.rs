//! A tensor in 4 bits.

use nn_core::{TorchContext, TorchFailure};
use tch::{Device, Kind, Tensor};
use torch_ext::{dynamic8, parallel};

use crate::cpu::{self, Format, Isa, Out};
use crate::error::torch;
use crate::memory::{Output, elements};
use crate::view::View4;
use crate::{Code4, Config4, QuantError, gpu, recycled, twin};

/// Numbers that one task of a loop takes: a whole number of blocks of every size.
const TASK: usize = 1 << 14;

/// The smallest divisor of a block (bitsandbytes' default backend): a block of zeros becomes codes of zero.
const LEAST_SCALE: f32 = 1e-38;

/// The scales of blocks.
#[derive(Debug)]
pub enum Absmax {
    /// As they are, float32, `[blocks]`.
    Plain(Tensor),
    /// Less their mean, in blocks of 256 8-bit codes (QLoRA, §3 "Double Quantization").
    Nested {
        /// uint8, `[blocks]`.
        codes: Tensor,
        /// Scale of each 256 of them, float32.
        absmax: Tensor,
        /// Value of each code, float32, `[256]`.
        map: Tensor,
        /// The mean that was taken off.
        offset: f32,
    },
}

/// A tensor in 4 bits: blocks of codes, row-major, with a scale each.
///
/// An infinity or a NaN makes every number of its block NaN or infinite, as in bitsandbytes; [`crate::QuantizingSource`]
/// refuses such weights. Blocks of zeros come back as zeros (with double quantisation: as numbers of the size of the
/// scales' rounding error times `table[code]`, where the code is that of zero, so as zeros again).
#[derive(Debug)]
pub struct Tensor4 {
    packed: Tensor,
    absmax: Absmax,
    config: Config4,
    shape: Vec<i64>,
    kind: Kind,
}

impl Tensor4 {
    /// Quantises `weight` (float32, bfloat16 or float16, any shape, any device).
    ///
    /// On the CPU the codes are bit for bit those of bitsandbytes 0.50; a mapped file is read where it lies.
    ///
    /// # Errors
    /// [`QuantError::BlockSize`], [`QuantError::Kind`], or [`QuantError::Torch`] when there is not the memory.
    pub fn quantize(weight: &Tensor, config: Config4) -> Result<Self, QuantError> {
        config.validate()?;
        let kind = weight.f_kind().op("kind")?;
        if !matches!(kind, Kind::Float | Kind::BFloat16 | Kind::Half) {
            return Err(QuantError::Kind { actual: kind });
        }
        let weight = weight.f_detach().op("detach")?.f_contiguous().op("contiguous")?;
        let (packed, scales) = if weight.device() == Device::Cpu {
            encode(&weight, config)?
        } else if let Some(done) = gpu::quantize(&weight, config)? {
            done
        } else {
            twin::quantize4(&weight, config)?
        };
        let absmax = if config.double_quant { nest(&scales)? } else { Absmax::Plain(scales) };
        Ok(Self { packed, absmax, config, shape: weight.size(), kind })
    }

    /// Puts a quantised tensor together from parts whose shapes and kinds are known to fit.
    pub(crate) fn from_parts(
        packed: Tensor,
        absmax: Absmax,
        config: Config4,
        shape: Vec<i64>,
        kind: Kind,
    ) -> Self {
        Self { packed, absmax, config, shape, kind }
    }

    /// Codes, two a byte, the first in the upper half: uint8, `[ceil(n / 2), 1]`.
    pub fn packed(&self) -> &Tensor {
        &self.packed
    }

    /// The scales.
    pub fn absmax(&self) -> &Absmax {
        &self.absmax
    }

    /// How it is quantised.
    pub fn config(&self) -> Config4 {
        self.config
    }

    /// Shape of what was quantised.
    pub fn shape(&self) -> &[i64] {
        &self.shape
    }

    /// Kind of what was quantised.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it lies.
    pub fn device(&self) -> Device {
        self.packed.device()
    }

    /// Bytes that codes and scales take.
    pub fn num_bytes(&self) -> usize {
        let bytes = |tensor: &Tensor| tensor.numel() * tensor.kind().elt_size_in_bytes();
        bytes(&self.packed)
            + match &self.absmax {
                Absmax::Plain(scales) => bytes(scales),
                Absmax::Nested { codes, absmax, map, .. } => bytes(codes) + bytes(absmax) + bytes(map),
            }
    }

    /// Whether every scale is a number; a NaN or an infinity in the weight makes one that is not.
    ///
    /// # Errors
    /// [`QuantError::Torch`] when libtorch refuses.
    pub fn is_finite(&self) -> Result<bool, QuantError> {
        let finite = self.scales()?.f_isfinite().op("isfinite")?.f_all().op("all")?;
        Ok(finite.f_int64_value(&[]).op("int64_value")? != 0)
    }

    /// Another handle on the same codes.
    #[must_use]
    pub fn share(&self) -> Self {
        let absmax = match &self.absmax {
            Absmax::Plain(scales) => Absmax::Plain(scales.shallow_clone()),
            Absmax::Nested { codes, absmax, map, offset } => Absmax::Nested {
                codes: codes.shallow_clone(),
                absmax: absmax.shallow_clone(),
                map: map.shallow_clone(),
                offset: *offset,
            },
        };
        let (packed, shape) = (self.packed.shallow_clone(), self.shape.clone());
        Self { packed, absmax, config: self.config, shape, kind: self.kind }
    }

    /// The same on another device.
    ///
    /// # Errors
    /// [`QuantError::Torch`] when there is not the memory.
    pub fn to_device(&self, device: Device) -> Result<Self, QuantError> {
        let to = |tensor: &Tensor| tensor.f_to(device).op("to");
        let absmax = match &self.absmax {
            Absmax::Plain(scales) => Absmax::Plain(to(scales)?),
            Absmax::Nested { codes, absmax, map, offset } => {
                Absmax::Nested { codes: to(codes)?, absmax: to(absmax)?, map: to(map)?, offset: *offset }
            }
        };
        let shape = self.shape.clone();
        Ok(Self { packed: to(&self.packed)?, absmax, config: self.config, shape, kind: self.kind })
    }

    /// The scale of every block: float32, `[blocks]`.
    ///
    /// # Errors
    /// [`QuantError::Torch`] when there is not the memory.
    pub fn scales(&self) -> Result<Tensor, QuantError> {
        Ok(match &self.absmax {
            Absmax::Plain(scales) => scales.shallow_clone(),
            nested @ Absmax::Nested { .. } => twin::scales(nested)?,
        })
    }

    /// What the codes stand for, `table[code] * scale` in float32, rounded to `kind`: in the shape of what was quantised.
    ///
    /// # Errors
    /// [`QuantError::Kind`] for a kind that is not floating point, [`QuantError::Torch`] when there is not the memory.
    pub fn dequantize(&self, kind: Kind) -> Result<Tensor, QuantError> {
        let device = self.device();
        if device == Device::Cpu {
            let mut out = recycled::empty(&self.shape, kind)?;
            self.decode_into(&mut out, 0)?;
            return Ok(out);
        }
        if kind == Kind::BFloat16 {
            let out = Tensor::f_empty(&self.shape, (kind, device)).op("empty")?;
            if gpu::dequantize_into(self, &out) {
                return Ok(out);
            }
        }
        twin::dequantize4(self, kind)
    }

    /// Writes the numbers from `start` on into `out`, a contiguous CPU tensor.
    pub(crate) fn decode_into(&self, out: &mut Tensor, start: usize) -> Result<(), QuantError> {
        let (len, kind) = (out.numel(), out.kind());
        let (view, target) = (View4::new(self), Target::new(out, kind)?);
        parallel(len.div_ceil(TASK), |tasks| {
            for at in tasks.map(|task| task * TASK) {
                view.decode(start + at, target.part(at, TASK.min(len - at)));
            }
        });
        Ok(())
    }
}

/// A CPU tensor of any floating-point kind that kernels write to.
pub(crate) enum Target {
    F32(Output<f32>),
    Half(Format, Output<u16>),
}

impl Target {
    pub(crate) fn new(out: &mut Tensor, kind: Kind) -> Result<Self, QuantError> {
        Ok(match kind {
            Kind::Float => Self::F32(Output::new(out)),
            Kind::BFloat16 => Self::Half(Format::BFloat16, Output::new(out)),
            Kind::Half => Self::Half(Format::Half, Output::new(out)),
            actual => return Err(QuantError::Kind { actual }),
        })
    }

    /// A part that no other thread writes to.
    #[expect(unsafe_code, reason = "the loops over parts are ours, and give each part to one task")]
    pub(crate) fn part(&self, start: usize, len: usize) -> Out<'_> {
        // SAFETY: each caller gives every index to one task only.
        unsafe {
            match self {
                Self::F32(out) => Out::F32(out.part(start, len)),
                Self::Half(format, out) => Out::Half(*format, out.part(start, len)),
            }
        }
    }
}

/// Codes and scales of a contiguous CPU tensor.
fn encode(weight: &Tensor, config: Config4) -> Result<(Tensor, Tensor), TorchFailure> {
    let (len, block) = (weight.numel(), config.block_size);
    let new = |len: usize, kind| Tensor::f_empty([len as i64], (kind, Device::Cpu)).op("empty");
    let mut packed = new(len.div_ceil(2), Kind::Uint8)?;
    let mut scales = new(len.div_ceil(block), Kind::Float)?;
    let (codes, absmax) = (Output::<u8>::new(&mut packed), Output::<f32>::new(&mut scales));
    let mut bounds = [f32::INFINITY; 16];
    bounds[..15].copy_from_slice(&config.code.bounds());
    let input = Input::new(weight);
    parallel(len.div_ceil(TASK), |tasks| {
        let mut buffer = vec![0.0; block];
        for start in tasks.flat_map(|task| (task * TASK..len.min((task + 1) * TASK)).step_by(block)) {
            let size = block.min(len - start);
            let xs = input.read(start, size, &mut buffer);
            #[expect(unsafe_code, reason = "each block is of one task")]
            // SAFETY: blocks do not overlap, and have even starts.
            let (codes, absmax) =
                unsafe { (codes.part(start / 2, size.div_ceil(2)), absmax.part(start / block, 1)) };
            absmax[0] = encode_block(xs, config.code, size == block, &bounds, codes);
        }
    });
    Ok((packed.f_unsqueeze(1).op("unsqueeze")?, scales))
}

/// Writes the codes of a block and returns its scale.
fn encode_block(xs: &[f32], code: Code4, whole: bool, bounds: &[f32; 16], out: &mut [u8]) -> f32 {
    let isa = Isa::best();
    let absmax = cpu::absmax(isa, xs);
    let least = if absmax < LEAST_SCALE { LEAST_SCALE } else { absmax };
    if whole {
        cpu::encode(isa, xs, 1.0 / least, bounds, code.order(), out);
        return absmax;
    }
    // bitsandbytes divides in the last, partial block, and keeps the clamped scale.
    let scaled: Vec<f32> = xs.iter().map(|x| x / least).collect();
    cpu::encode(Isa::Scalar, &scaled, 1.0, bounds, code.order(), out);
    least
}

/// A CPU tensor of any floating-point kind, read as float32.
#[derive(Clone, Copy)]
pub(crate) enum Input<'a> {
    F32(&'a [f32]),
    Half(Format, &'a [u16]),
}

impl<'a> Input<'a> {
    pub(crate) fn new(tensor: &'a Tensor) -> Self {
        match tensor.kind() {
            Kind::Half => Self::Half(Format::Half, elements(tensor)),
            Kind::BFloat16 => Self::Half(Format::BFloat16, elements(tensor)),
            _ => Self::F32(elements(tensor)),
        }
    }

    /// `len` numbers from `start` on; `buffer` is where they are put when they are not float32.
    pub(crate) fn read<'b>(&self, start: usize, len: usize, buffer: &'b mut [f32]) -> &'b [f32]
    where
        'a: 'b,
    {
        match self {
            Self::F32(all) => &all[start..start + len],
            Self::Half(format, all) => {
                cpu::widen(Isa::best(), *format, &all[start..start + len], &mut buffer[..len]);
                &buffer[..len]
            }
        }
    }
}

/// Quantises scales less their mean.
fn nest(scales: &Tensor) -> Result<Absmax, TorchFailure> {
    let mean = scales.f_mean(Kind::Float).op("mean")?;
    let centred = scales.f_sub(&mean).op("sub")?;
    let blocks = dynamic8::quantize(&centred, true).map_err(torch("quantize"))?;
    let map = Tensor::f_from_slice(dynamic8::map(true)).op("from_slice")?.f_to(scales.device()).op("to")?;
    let offset = mean.f_double_value(&[]).op("double_value")? as f32;
    Ok(Absmax::Nested { codes: blocks.codes, absmax: blocks.absmax, map, offset })
}
