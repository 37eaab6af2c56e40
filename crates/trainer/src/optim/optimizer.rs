//! An optimiser at work: parameters, gradients and state.

use std::collections::BTreeMap;
use std::path::Path;

use nn_core::{TorchContext, all_finite};
use tch::{Device, Kind, Tensor, no_grad_guard};
use weights::TensorStore;

use super::bucket::{Bucket, fill_buckets};
use super::gradients::Gradients;
use super::kind::OptimizerKind;
use super::rule::UpdateStep;
use crate::TrainError;
use crate::phases::wait_for;

/// Hyper-parameters of an [`Optimizer`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct OptimizerSettings {
    /// As in [`UpdateStep`].
    pub(crate) beta1: f64,
    /// As in [`UpdateStep`].
    pub(crate) beta2: f64,
    /// As in [`UpdateStep`].
    pub(crate) epsilon: f64,
    /// Share of a parameter, times the learning rate, removed before each update.
    pub(crate) weight_decay: f64,
}

/// An optimiser and the float32 parameters it updates.
///
/// Weight decay is decoupled from the gradient and spares parameters with fewer than two dimensions (biases, norms).
#[derive(Debug)]
pub struct Optimizer {
    kind: OptimizerKind,
    settings: OptimizerSettings,
    parameters: Vec<(String, Tensor)>,
    buckets: Vec<Bucket>,
    steps: i64,
}

impl Optimizer {
    /// Creates an optimiser that has taken no step.
    ///
    /// # Errors
    /// [`TrainError::NoParameters`], [`TrainError::FrozenParameter`] or [`TrainError::ParameterKind`] when there is
    /// nothing to optimise, or something that cannot be; [`TrainError::Torch`] when memory cannot be allocated or pinned.
    pub(crate) fn new(
        parameters: Vec<(String, Tensor)>,
        kind: OptimizerKind,
        settings: OptimizerSettings,
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
        let buckets = fill_buckets(&parameters, kind.rule.state(), kind.eight_bit, kind.paged)?;
        Ok(Self { kind, settings, parameters, buckets, steps: 0 })
    }

    /// Returns the parameters under their names.
    pub fn parameters(&self) -> &[(String, Tensor)] {
        &self.parameters
    }

    /// Lists the devices of the parameters.
    pub(crate) fn devices(&self) -> Vec<Device> {
        let mut devices = Vec::new();
        for Bucket { device, .. } in &self.buckets {
            if !devices.contains(device) {
                devices.push(*device);
            }
        }
        devices
    }

    /// Names the parameters that hold NaN or infinity.
    ///
    /// # Errors
    /// [`TrainError::Torch`] when libtorch refuses.
    pub(crate) fn not_finite(&self) -> Result<Vec<String>, TrainError> {
        let mut names = Vec::new();
        for (name, tensor) in &self.parameters {
            if !all_finite(tensor)? {
                names.push(name.clone());
            }
        }
        Ok(names)
    }

    /// Sets the gradients that backward passes have summed up to 0.
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

    /// Returns the gradients that backward passes have summed up. They may share storage with the parameters' `grad`, whose
    /// values [`Optimizer::step`] overwrites.
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

    /// Returns gradients of 0: those of a process that has nothing to do in a step.
    ///
    /// # Errors
    /// [`TrainError::Torch`] when memory cannot be allocated.
    pub(crate) fn zero_gradients(&self) -> Result<Gradients, TrainError> {
        let zeros = |bucket: &Bucket| {
            Ok(Tensor::f_zeros([bucket.sizes.iter().sum::<i64>()], (Kind::Float, bucket.device))
                .op("zeros")?)
        };
        self.buckets.iter().map(zeros).collect::<Result<_, TrainError>>().map(Gradients)
    }

    /// Names the parameters whose gradient holds NaN or infinity.
    ///
    /// # Errors
    /// [`TrainError::Torch`] when libtorch refuses.
    pub(crate) fn gradients_not_finite(&self, gradients: &Gradients) -> Result<Vec<String>, TrainError> {
        let mut names = Vec::new();
        for (bucket, flat) in self.buckets.iter().zip(&gradients.0) {
            let parts = flat.f_split_with_sizes(&bucket.sizes, 0).op("split_with_sizes")?;
            for ((name, _), part) in self.parameters[bucket.members.clone()].iter().zip(parts) {
                if !all_finite(&part)? {
                    names.push(name.clone());
                }
            }
        }
        Ok(names)
    }

    /// Updates every parameter, and the state, from the gradients of this step.
    ///
    /// # Errors
    /// [`TrainError::Torch`] when libtorch refuses.
    pub fn step(&mut self, gradients: Gradients, learning_rate: f64) -> Result<(), TrainError> {
        let _guard = no_grad_guard();
        self.steps += 1;
        let OptimizerSettings { beta1, beta2, epsilon, weight_decay } = self.settings;
        let step = UpdateStep { number: self.steps, learning_rate, beta1, beta2, epsilon };
        let kept = 1.0 - learning_rate * weight_decay;

        for (bucket, gradient) in self.buckets.iter_mut().zip(gradients.0) {
            let values = bucket.state.iter().map(|stored| stored.values(bucket.device));
            let mut state = values.collect::<Result<Vec<_>, _>>()?;
            let update = self.kind.rule.update(gradient, &mut state, &step)?;

            let parts = update.f_split_with_sizes(&bucket.sizes, 0).op("split_with_sizes")?;
            for ((_, tensor), part) in self.parameters[bucket.members.clone()].iter_mut().zip(parts) {
                if weight_decay != 0.0 && tensor.dim() >= 2 {
                    let _ = tensor.f_mul_scalar_(kept).op("mul_")?;
                }
                let _ = tensor.f_add_(&part.f_view_as(tensor).op("view_as")?).op("add_")?;
            }
            for (stored, values) in bucket.state.iter_mut().zip(state) {
                stored.store(values)?;
            }
        }
        // The host may read a paged state from here on: buckets are copied one behind another, and waited for once.
        if self.kind.is_paged() {
            wait_for(&self.devices());
        }
        Ok(())
    }

    /// Writes the state: `step`, and for each parameter the tensors of its bucket's state, such as `exp_avg.NAME`.
    ///
    /// # Errors
    /// [`TrainError::Weights`] when the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), TrainError> {
        let mut tensors = self.named_state()?;
        tensors.push(("step".to_owned(), Tensor::f_from_slice(&[self.steps]).op("from_slice")?));
        let by_name: Vec<_> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor)).collect();
        Ok(weights::write_safetensors(path, &by_name, &BTreeMap::new())?)
    }

    /// Reads the state that [`Optimizer::save`] wrote.
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
        self.steps = store.tensor("step")?.f_int64_value(&[0]).op("int64_value")?;
        Ok(())
    }

    /// Returns the state of each parameter under its name, as views of the buckets.
    fn named_state(&self) -> Result<Vec<(String, Tensor)>, TrainError> {
        let mut named = Vec::with_capacity(2 * self.parameters.len() + 1);
        for bucket in &self.buckets {
            let members = &self.parameters[bucket.members.clone()];
            named.extend(bucket.named_state(members, self.kind.rule.state())?);
        }
        Ok(named)
    }
}
