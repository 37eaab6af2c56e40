//! Random numbers from a generator of one's own.

use std::ffi::{c_int, c_void};
use std::ptr::NonNull;

use tch::{Device, TchError, Tensor};
use torch_sys::C_tensor;

use crate::ExtError;
use crate::error::{last_error, own};

unsafe extern "C" {
    fn torch_ext_generator_new(device: c_int, seed: u64) -> *mut c_void;
    fn torch_ext_generator_free(generator: *mut c_void);
    fn torch_ext_generator_uniform(generator: *const c_void, xs: *mut C_tensor, from: f64, to: f64) -> c_int;
    fn torch_ext_generator_normal(generator: *const c_void, xs: *mut C_tensor, mean: f64, std: f64) -> c_int;
    fn torch_ext_generator_dropout(generator: *const c_void, xs: *const C_tensor, p: f64) -> *mut C_tensor;
}

/// A random number generator (`at::Generator`, PyTorch's `torch.Generator`) that nobody else draws from.
///
/// A generator made with a seed gives the numbers that PyTorch's default generator gives after `manual_seed` with it,
/// while the default generator, which belongs to the whole process, stays as it is.
#[derive(Debug)]
pub struct Generator(NonNull<c_void>);

// SAFETY: libtorch's object belongs to no thread; the type is not `Sync`, and drawing takes `&mut self`.
unsafe impl Send for Generator {}

impl Generator {
    /// Creates a generator for tensors on `device`.
    ///
    /// # Errors
    /// [`TchError::Torch`] when `device` is neither a CPU nor a CUDA device that can be used.
    pub fn new(device: Device, seed: u64) -> Result<Self, TchError> {
        let index = match device {
            Device::Cpu => -1,
            Device::Cuda(index) => index as c_int,
            other => return Err(TchError::Torch(format!("there is no generator for {other:?}"))),
        };
        // SAFETY: takes two numbers.
        NonNull::new(unsafe { torch_ext_generator_new(index, seed) }).map(Self).ok_or_else(failure)
    }

    /// Fills `xs` with numbers drawn uniformly from `from..to`.
    ///
    /// # Errors
    /// [`TchError::Torch`] when the range is empty, or `xs` is of integers or on another device.
    pub fn uniform_(&mut self, xs: &mut Tensor, from: f64, to: f64) -> Result<(), TchError> {
        // SAFETY: the generator is alive; the tensor is borrowed for the call.
        done(unsafe { torch_ext_generator_uniform(self.0.as_ptr(), xs.as_mut_ptr(), from, to) })
    }

    /// Fills `xs` with numbers of the normal distribution.
    ///
    /// # Errors
    /// [`TchError::Torch`] when `std` is negative, or `xs` is of integers or on another device.
    pub fn normal_(&mut self, xs: &mut Tensor, mean: f64, std: f64) -> Result<(), TchError> {
        // SAFETY: as in `uniform_`.
        done(unsafe { torch_ext_generator_normal(self.0.as_ptr(), xs.as_mut_ptr(), mean, std) })
    }

    /// Returns `xs` with each element set to zero with probability `p`, and divided by `1 - p` otherwise: dropout in
    /// training. Gradients flow to `xs`.
    ///
    /// # Errors
    /// [`TchError::Torch`] when `p` is not in `0 ..= 1`, or `xs` is on another device.
    pub fn dropout(&mut self, xs: &Tensor, p: f64) -> Result<Tensor, TchError> {
        // SAFETY: as in `uniform_`.
        own("dropout", unsafe { torch_ext_generator_dropout(self.0.as_ptr(), xs.as_ptr(), p) })
            .map_err(|_| failure())
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and freed here only.
        unsafe { torch_ext_generator_free(self.0.as_ptr()) };
    }
}

fn done(status: c_int) -> Result<(), TchError> {
    if status == 1 { Ok(()) } else { Err(failure()) }
}

/// Returns the failure that the C++ side just reported, as tch's own operations report theirs.
fn failure() -> TchError {
    match last_error("generator") {
        ExtError::Torch { message, .. } => TchError::Torch(message),
        other => TchError::Torch(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint;
    use std::sync::Mutex;
    use tch::Kind;

    /// Tests that use the process's default generator, one at a time.
    static DEFAULT: Mutex<()> = Mutex::new(());

    /// Few numbers and many, since libtorch draws from 16 on in another way; with and without an odd rest.
    const SIZES: [i64; 5] = [1, 15, 16, 77, 5000];
    const KINDS: [Kind; 3] = [Kind::Float, Kind::BFloat16, Kind::Double];

    #[test]
    fn numbers_equal_those_of_the_default_generator_after_manual_seed() {
        let _guard = DEFAULT.lock();
        for seed in [0, 1, 0x1234_5678_9abc, i64::MAX as u64] {
            for (size, kind) in SIZES.into_iter().flat_map(|size| KINDS.map(|kind| (size, kind))) {
                let fresh = || Tensor::zeros([size], (kind, Device::Cpu));
                let (mut ours, mut theirs) = (fresh(), fresh());
                let mut generator = Generator::new(Device::Cpu, seed).unwrap();
                tch::manual_seed(seed as i64);
                // Twice each, so that what is left over from one drawing is used alike in the next.
                for _ in 0..2 {
                    generator.normal_(&mut ours, 0.5, 2.0).unwrap();
                    assert_eq!(ours, theirs.normal_(0.5, 2.0), "normal, {seed} {size} {kind:?}");
                    generator.uniform_(&mut ours, -0.25, 3.0).unwrap();
                    assert_eq!(ours, theirs.uniform_(-0.25, 3.0), "uniform, {seed} {size} {kind:?}");
                    for p in [0.0, 0.05, 0.5, 1.0] {
                        let dropped = generator.dropout(&ours, p).unwrap();
                        assert_eq!(dropped, theirs.dropout(p, true), "dropout {p}, {seed} {size} {kind:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_default_generator_is_left_alone() {
        let _guard = DEFAULT.lock();
        let mut xs = Tensor::zeros([40], (Kind::Float, Device::Cpu));
        let draw = || Tensor::rand([40], (Kind::Float, Device::Cpu));
        tch::manual_seed(11);
        let undisturbed = draw();
        tch::manual_seed(11);
        let mut generator = Generator::new(Device::Cpu, 5).unwrap();
        generator.normal_(&mut xs, 0.0, 1.0).unwrap();
        generator.uniform_(&mut xs, 0.0, 1.0).unwrap();
        let _ = generator.dropout(&xs, 0.5).unwrap();
        assert_eq!(draw(), undisturbed);
    }

    #[test]
    fn gradients_of_dropout_equal_the_default_generators_also_under_checkpointing() {
        let _guard = DEFAULT.lock();
        let xs = Tensor::randn([6, 20], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let gradient = |ys: &Tensor| {
            ys.square().sum(Kind::Float).backward();
            let gradient = xs.grad().copy();
            let _ = xs.grad().zero_();
            gradient
        };
        tch::manual_seed(9);
        let theirs = gradient(&xs.dropout(0.3, true));
        let ours = gradient(&Generator::new(Device::Cpu, 9).unwrap().dropout(&xs, 0.3).unwrap());
        assert_eq!(ours, theirs);
        let dropped = |xs: &Tensor| Generator::new(Device::Cpu, 9)?.dropout(xs, 0.3);
        assert_eq!(gradient(&checkpoint(&xs, dropped).unwrap()), theirs);
    }

    #[test]
    fn impossible_distributions_are_rejected() {
        let mut generator = Generator::new(Device::Cpu, 1).unwrap();
        let mut numbers = Tensor::zeros([3], (Kind::Float, Device::Cpu));
        assert!(generator.uniform_(&mut numbers, 1.0, 0.0).is_err());
        assert!(generator.normal_(&mut numbers, 0.0, -1.0).is_err());
        assert!(generator.dropout(&numbers, 1.5).is_err());
        assert!(generator.uniform_(&mut Tensor::from(1i64), 0.0, 1.0).is_err());
        assert!(Generator::new(Device::Mps, 1).is_err());
        if !crate::cuda::is_available() {
            assert!(Generator::new(Device::Cuda(0), 1).is_err());
        }
    }
}
