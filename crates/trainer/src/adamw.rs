//! The optimiser.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use nn_core::TorchContext;
use tch::{Device, Kind, Tensor, no_grad_guard};
use torch_ext::dynamic8::{self, Blocks};
use weights::TensorStore;

use crate::TrainError;

/// Hyper-parameters of [`AdamW`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConfig {
    /// Decay of the running mean of the gradient.
    pub beta1: f64,
    /// Decay of the running mean of the squared gradient.
    pub beta2: f64,
    /// Added to the root of the mean square, after bias correction.
    pub epsilon: f64,
    /// Share of a parameter, times the learning rate, taken off before each update.
    pub weight_decay: f64,
}

/// How [`AdamW`] keeps its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AdamWState {
    /// In 8 bits for parameters of at least 4096 elements, in blocks of 256 from the start of each: the numbers of
    /// bitsandbytes' `AdamW8bit` on the CPU. In float32 otherwise.
    pub eight_bit: bool,
    /// Of parameters on a GPU, in pinned memory of the host: a bucket of it at a time visits the GPU for its update. bitsandbytes'
    /// paged optimisers leave it to the driver's managed memory what is moved, and when. On a CPU there is nothing to page.
    pub paged: bool,
}

/// `AdamW` (Loshchilov and Hutter, arXiv 1711.05101), with the formulas and the order of `torch.optim.AdamW`.
///
/// Parameters are float32, and so is the state unless [`AdamWState`] says otherwise. Parameters with fewer than two dimensions are not decayed.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    parameters: Vec<(String, Tensor)>,
    buckets: Vec<Bucket>,
    step: i64,
}

/// Neighbouring parameters whose gradients and moments lie in one flat buffer.
#[derive(Debug)]
struct Bucket {
    members: Range<usize>,
    /// Number of elements of each member.
    sizes: Vec<i64>,
    /// Of the members.
    device: Device,
    state: Moments,
}

/// Running means of the gradient and of its square, `[sum of sizes]`, on the device of the parameters or paged.
#[derive(Debug)]
enum Moments {
    /// In float32.
    Float { exp_avg: Tensor, exp_avg_sq: Tensor },
    /// In blocks of 8-bit codes (Dettmers et al., "8-bit Optimizers via Block-wise Quantization", arXiv 2110.02861).
    Eight { exp_avg: Blocks, exp_avg_sq: Blocks },
}

/// Parameters with fewer elements keep float32 states (bitsandbytes `min_8bit_size`).
const MIN_8BIT_SIZE: i64 = 4096;

/// The gradients of one step, flat.
#[derive(Debug)]
pub struct Gradients(Vec<Tensor>);

impl Gradients {
    /// The Euclidean norm over all gradients: float64, `[1]`, on their device, not yet waited for.
    ///
    /// # Errors
    /// [`TrainError::Torch`] when libtorch refuses.
    pub fn norm(&self) -> Result<Tensor, TrainError> {
        let norms = self.0.iter().map(|flat| flat.f_norm().op("norm"));
        let norms = Tensor::f_stack(&norms.collect::<Result<Vec<_>, _>>()?, 0).op("stack")?;
        let norms = norms.f_to_kind(Kind::Double).op("to_kind")?;
        Ok(norms.f_norm().op("norm")?.f_reshape([1]).op("reshape")?)
    }

    /// Scales all gradients by `factor`.
    ///
    /// # Errors
    /// [`TrainError::Torch`] when libtorch refuses.
    pub fn scale(&mut self, factor: f64) -> Result<(), TrainError> {
        let _guard = no_grad_guard();
        for flat in &mut self.0 {
            let _ = flat.f_mul_scalar_(factor).op("mul_")?;
        }
        Ok(())
    }
}

impl AdamW {
    /// Parameters are gathered into flat buffers of about this many elements (16 MiB), so that a LoRA's hundreds of small
    /// tensors cost a few operations and not thousands, while no large tensor is copied.
    pub const BUCKET_ELEMENTS: i64 = 1 << 22;

    /// An optimiser of `parameters` that has taken no step.
    ///
    /// # Errors
    /// [`TrainError::NoParameters`], [`TrainError::FrozenParameter`] or [`TrainError::ParameterKind`] when there is
    /// nothing to optimise, or something that cannot be.
    pub fn new(parameters: Vec<(String, Tensor)>, config: AdamWConfig) -> Result<Self, TrainError> {
        Self::with_state(parameters, config, AdamWState::default())
    }

    /// As [`AdamW::new`], with the state kept in another way.
    ///
    /// # Errors
    /// As [`AdamW::new`], and [`TrainError::Torch`] when memory cannot be pinned.
    pub fn with_state(
        parameters: Vec<(String, Tensor)>,
        config: AdamWConfig,
        state: AdamWState,
    ) -> Result<Self, TrainError> {
        if parameters.is_empty() {
            return Err(TrainError::NoParameters);
        }
        for (name, tensor) in &parameters {
            if !tensor.requires_grad() || !tensor.is_leaf() {
                return Err(TrainError::FrozenParameter { name: name.clone() });
            }
            let actual = tensor.f_kind().op("kind")?;
            if actual != Kind::Float {
                return Err(TrainError::ParameterKind { name: name.clone(), actual });
            }
        }
        let buckets = fill_buckets(&parameters, state)?;
        Ok(Self { config, parameters, buckets, step: 0 })
    }

    /// What is optimised.
    pub fn parameters(&self) -> &[(String, Tensor)] {
        &self.parameters
    }

    /// Forgets the gradients that backward passes have summed up.
    ///
    /// # Errors
    /// [`TrainError::Torch`] when libtorch refuses.
    pub fn zero_grad(&self) -> Result<(), TrainError> {
        for (_, tensor) in &self.parameters {
            let mut grad = tensor.f_grad().op("grad")?;
            if grad.defined() {
                let _ = grad.f_zero_().op("zero_")?;
            }
        }
        Ok(())
    }

    /// The gradients that backward passes have summed up. They may share storage with the parameters' `grad`, whose
    /// values are used up by [`AdamW::step`].
    ///
    /// # Errors
    /// [`TrainError::NoGradient`] when no backward pass has reached a parameter.
    pub fn gradients(&self) -> Result<Gradients, TrainError> {
        let flat = |(name, tensor): &(String, Tensor)| {
            let grad = tensor.f_grad().op("grad")?;
            if !grad.defined() {
                return Err(TrainError::NoGradient { name: name.clone() });
            }
            Ok(grad.f_reshape([-1]).op("reshape")?)
        };
        let gather = |bucket: &Bucket| {
            let members = self.parameters[bucket.members.clone()].iter();
            let mut grads = members.map(flat).collect::<Result<Vec<_>, TrainError>>()?;
            Ok(if grads.len() == 1 { grads.remove(0) } else { Tensor::f_cat(&grads, 0).op("cat")? })
        };
        self.buckets.iter().map(gather).collect::<Result<_, TrainError>>().map(Gradients)
    }

    /// Updates every parameter, and the state, from the gradients of this step.
    ///
    /// # Errors
    /// [`TrainError::Torch`] when libtorch refuses.
    pub fn step(&mut self, gradients: Gradients, learning_rate: f64) -> Result<(), TrainError> {
        let _guard = no_grad_guard();
        let AdamWConfig { beta1, beta2, epsilon, weight_decay } = self.config;
        self.step += 1;
        let correction1 = 1.0 - beta1.powf(self.step as f64);
        let correction2 = 1.0 - beta2.powf(self.step as f64);
        let kept = 1.0 - learning_rate * weight_decay;

        for (bucket, mut grad) in self.buckets.iter_mut().zip(gradients.0) {
            let (mut exp_avg, mut exp_avg_sq) = bucket.state.values(bucket.device)?;
            let _ = exp_avg.f_lerp_(&grad, 1.0 - beta1).op("lerp_")?;
            let grad_squared = grad.f_square_().op("square_")?;
            let _ = exp_avg_sq.f_lerp_(&grad_squared, 1.0 - beta2).op("lerp_")?;

            let mut denominator = exp_avg_sq.f_sqrt().op("sqrt")?;
            let _ = denominator.f_mul_scalar_(1.0 / correction2.sqrt()).op("mul_")?;
            let _ = denominator.f_add_scalar_(epsilon).op("add_")?;
            let mut update = exp_avg.f_mul_scalar(-learning_rate / correction1).op("mul")?;
            let update = update.f_div_(&denominator).op("div_")?;

            let parts = update.f_split_with_sizes(&bucket.sizes, 0).op("split_with_sizes")?;
            for ((_, tensor), part) in self.parameters[bucket.members.clone()].iter_mut().zip(parts) {
                if weight_decay != 0.0 && tensor.dim() >= 2 {
                    let _ = tensor.f_mul_scalar_(kept).op("mul_")?;
                }
                let _ = tensor.f_add_(&part.f_view_as(tensor).op("view_as")?).op("add_")?;
            }
            bucket.state.keep(exp_avg, exp_avg_sq)?;
        }
        Ok(())
    }

    /// Writes the state: `step`, and `exp_avg.NAME` and `exp_avg_sq.NAME` for each parameter, in its shape; of 8-bit
    /// states the codes, `[n]`, and `exp_avg_absmax.NAME` and `exp_avg_sq_absmax.NAME`.
    ///
    /// # Errors
    /// [`TrainError::Weights`] when the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), TrainError> {
        let mut tensors = self.named_state()?;
        tensors.push(("step".to_owned(), Tensor::f_from_slice(&[self.step]).op("from_slice")?));
        let by_name: Vec<_> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor)).collect();
        Ok(weights::write_safetensors(path, &by_name, &BTreeMap::new())?)
    }

    /// Takes over the state that [`AdamW::save`] wrote.
    ///
    /// # Errors
    /// [`TrainError::Weights`] when the file is not readable or lacks a tensor, [`TrainError::OptimizerState`] when one
    /// has another shape.
    pub fn load(&mut self, path: &Path) -> Result<(), TrainError> {
        let _guard = no_grad_guard();
        let store = TensorStore::open_file(path)?;
        for (name, mut state) in self.named_state()? {
            let saved = store.tensor(&name)?;
            if saved.size() != state.size() || saved.kind() != state.kind() {
                return Err(TrainError::OptimizerState {
                    name,
                    actual: saved.size(),
                    expected: state.size(),
                });
            }
            state.f_copy_(&saved).op("copy_")?;
        }
        self.step = store.tensor("step")?.f_int64_value(&[0]).op("int64_value")?;
        Ok(())
    }

    /// The moments of each parameter under its name and in its shape, as views of the buckets.
    fn named_state(&self) -> Result<Vec<(String, Tensor)>, TrainError> {
        let mut named = Vec::with_capacity(2 * self.parameters.len() + 1);
        for bucket in &self.buckets {
            let members = &self.parameters[bucket.members.clone()];
            match &bucket.state {
                Moments::Float { exp_avg, exp_avg_sq } => {
                    for (prefix, flat) in [("exp_avg", exp_avg), ("exp_avg_sq", exp_avg_sq)] {
                        let parts = flat.f_split_with_sizes(&bucket.sizes, 0).op("split_with_sizes")?;
                        for ((name, tensor), part) in members.iter().zip(parts) {
                            named.push((format!("{prefix}.{name}"), part.f_view_as(tensor).op("view_as")?));
                        }
                    }
                }
                Moments::Eight { exp_avg, exp_avg_sq } => {
                    for (prefix, blocks) in [("exp_avg", exp_avg), ("exp_avg_sq", exp_avg_sq)] {
                        for (name, _) in members {
                            named.push((format!("{prefix}.{name}"), blocks.codes.shallow_clone()));
                            named.push((format!("{prefix}_absmax.{name}"), blocks.absmax.shallow_clone()));
                        }
                    }
                }
            }
        }
        Ok(named)
    }
}

impl Moments {
    fn zeros(len: i64, device: Device, eight_bit: bool) -> Result<Self, TrainError> {
        let zeros = || Tensor::f_zeros([len], (Kind::Float, device)).op("zeros");
        if !eight_bit {
            return Ok(Self::Float { exp_avg: zeros()?, exp_avg_sq: zeros()? });
        }
        let blocks = |signed| dynamic8::quantize(&zeros()?, signed).op("quantize");
        Ok(Self::Eight { exp_avg: blocks(true)?, exp_avg_sq: blocks(false)? })
    }

    /// Moved to host memory from which `device` can read and to which it can write without a copy of the driver's between.
    fn pinned(self, device: Device) -> Result<Self, TrainError> {
        let pin = |xs: Tensor| xs.f_pin_memory(device).op("pin_memory");
        let pin_blocks = |Blocks { codes, absmax }: Blocks| -> Result<_, TrainError> {
            Ok(Blocks { codes: pin(codes)?, absmax: pin(absmax)? })
        };
        Ok(match self {
            Self::Float { exp_avg, exp_avg_sq } => {
                Self::Float { exp_avg: pin(exp_avg)?, exp_avg_sq: pin(exp_avg_sq)? }
            }
            Self::Eight { exp_avg, exp_avg_sq } => {
                Self::Eight { exp_avg: pin_blocks(exp_avg)?, exp_avg_sq: pin_blocks(exp_avg_sq)? }
            }
        })
    }

    /// The means in float32 on `device`: the state itself, a copy of it, or its values.
    fn values(&self, device: Device) -> Result<(Tensor, Tensor), TrainError> {
        let visit = |xs: &Tensor| xs.f_to(device).op("to");
        let values = |Blocks { codes, absmax }: &Blocks, signed| -> Result<_, TrainError> {
            let blocks = Blocks { codes: visit(codes)?, absmax: visit(absmax)? };
            Ok(dynamic8::dequantize(&blocks, signed).op("dequantize")?)
        };
        Ok(match self {
            Self::Float { exp_avg, exp_avg_sq } => (visit(exp_avg)?, visit(exp_avg_sq)?),
            Self::Eight { exp_avg, exp_avg_sq } => (values(exp_avg, true)?, values(exp_avg_sq, false)?),
        })
    }

    /// Takes over what has become of [`Moments::values`].
    fn keep(&mut self, mean: Tensor, mean_square: Tensor) -> Result<(), TrainError> {
        match self {
            Self::Float { exp_avg, exp_avg_sq } => {
                put(exp_avg, mean)?;
                put(exp_avg_sq, mean_square)
            }
            Self::Eight { exp_avg, exp_avg_sq } => {
                for (kept, new, signed) in [(exp_avg, mean, true), (exp_avg_sq, mean_square, false)] {
                    let new = dynamic8::quantize(&new, signed).op("quantize")?;
                    put(&mut kept.codes, new.codes)?;
                    put(&mut kept.absmax, new.absmax)?;
                }
                Ok(())
            }
        }
    }
}

/// Replaces `kept` by `new`, or by its values when `kept` lies elsewhere.
fn put(kept: &mut Tensor, new: Tensor) -> Result<(), TrainError> {
    if kept.device() == new.device() {
        *kept = new;
    } else {
        kept.f_copy_(&new).op("copy_")?;
    }
    Ok(())
}

/// Cuts the parameters, in order, into buckets of one device and at most [`AdamW::BUCKET_ELEMENTS`] (a larger tensor is alone,
/// and so is one whose state is in 8 bits, since blocks begin with it).
fn fill_buckets(parameters: &[(String, Tensor)], state: AdamWState) -> Result<Vec<Bucket>, TrainError> {
    let mut groups: Vec<(Range<usize>, Vec<i64>, Device, bool)> = Vec::new();
    for (index, (_, tensor)) in parameters.iter().enumerate() {
        let (size, device) = (tensor.numel() as i64, tensor.device());
        let eight_bit = state.eight_bit && size >= MIN_8BIT_SIZE;
        match groups.last_mut() {
            Some((members, sizes, of, eight))
                if *of == device
                    && !*eight
                    && !eight_bit
                    && sizes.iter().sum::<i64>() + size <= AdamW::BUCKET_ELEMENTS =>
            {
                members.end += 1;
                sizes.push(size);
            }
            _ => groups.push((index..index + 1, vec![size], device, eight_bit)),
        }
    }
    groups
        .into_iter()
        .map(|(members, sizes, device, eight_bit)| {
            let len = sizes.iter().sum();
            let state = if state.paged && device.is_cuda() {
                Moments::zeros(len, Device::Cpu, eight_bit)?.pinned(device)?
            } else {
                Moments::zeros(len, device, eight_bit)?
            };
            Ok(Bucket { members, sizes, device, state })
        })
        .collect()
}
