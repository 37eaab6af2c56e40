//! Activation checkpointing (Chen et al., 2016, "Training Deep Nets with Sublinear Memory Cost", §3).

use std::error::Error;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::ExtError;
use crate::error::{own, set_last_error, with_causes};

type Forward = Box<dyn Fn(&Tensor) -> Result<Tensor, Box<dyn Error + Send + Sync>> + Send>;

unsafe extern "C" {
    fn torch_ext_checkpoint(
        xs: *const C_tensor,
        call: extern "C" fn(*mut c_void, *const C_tensor) -> *mut C_tensor,
        drop: extern "C" fn(*mut c_void),
        user: *mut c_void,
    ) -> *mut C_tensor;
}

extern "C" fn call(user: *mut c_void, xs: *const C_tensor) -> *mut C_tensor {
    // SAFETY: `user` is the box made in `checkpoint`, alive until `release`.
    let forward = unsafe { &*user.cast::<Forward>() };
    // SAFETY: a borrowed tensor of the C++ side; this takes a reference of its own.
    let xs = unsafe { Tensor::clone_from_ptr(xs.cast_mut()) };
    let message = match catch_unwind(AssertUnwindSafe(|| forward(&xs))) {
        Ok(Ok(ys)) => return std::mem::ManuallyDrop::new(ys).as_mut_ptr(),
        Ok(Err(error)) => with_causes(&*error),
        Err(_) => "the checkpointed closure panicked".to_owned(),
    };
    set_last_error(&message);
    std::ptr::null_mut()
}

extern "C" fn release(user: *mut c_void) {
    // SAFETY: `user` came from `Box::into_raw`, and the C++ side releases it once.
    drop(unsafe { Box::from_raw(user.cast::<Forward>()) });
}

/// Runs `forward(xs)` without recording its inside; the backward pass runs it again and differentiates that.
///
/// The gradients of every leaf that `forward` uses are the same as without checkpointing, provided `forward` is a
/// function of `xs`: whatever random numbers it draws must come from a seed it carries.
///
/// # Errors
/// [`ExtError::Torch`] with the closure's own message when it fails. A failure in the backward pass is an error of that
/// pass.
pub fn checkpoint<E, F>(xs: &Tensor, forward: F) -> Result<Tensor, ExtError>
where
    E: Error + Send + Sync + 'static,
    F: Fn(&Tensor) -> Result<Tensor, E> + Send + 'static,
{
    let forward: Forward = Box::new(move |xs| forward(xs).map_err(Into::into));
    let user = Box::into_raw(Box::new(forward)).cast::<c_void>();
    // SAFETY: `xs` is alive for the call; `user` is given away.
    own("checkpoint", unsafe { torch_ext_checkpoint(xs.as_ptr(), call, release, user) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tch::{Device, Kind, TchError};

    fn mlp(weight: &Tensor, xs: &Tensor) -> Result<Tensor, TchError> {
        xs.f_matmul(weight)?.f_tanh()?.f_matmul(weight)
    }

    #[test]
    fn checkpointed_gradients_equal_plain_ones() {
        for xs_needs_grad in [true, false] {
            let weight = Tensor::randn([8, 8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
            let xs = Tensor::randn([4, 8], (Kind::Float, Device::Cpu)).set_requires_grad(xs_needs_grad);
            mlp(&weight, &xs).unwrap().square().sum(Kind::Float).backward();
            let plain = (weight.grad().copy(), xs.grad());
            let (mut w, mut x) = (weight.shallow_clone(), xs.shallow_clone());
            w.zero_grad();
            let plain_xs = plain.1.defined().then(|| plain.1.copy());
            if xs_needs_grad {
                x.zero_grad();
            }
            let inside = weight.shallow_clone();
            let ys = checkpoint(&xs, move |xs| mlp(&inside, xs)).unwrap();
            ys.square().sum(Kind::Float).backward();
            assert_eq!(weight.grad(), plain.0);
            if let Some(plain_xs) = plain_xs {
                assert_eq!(xs.grad(), plain_xs);
            }
        }
    }

    #[test]
    fn the_closure_is_freed_when_no_backward_pass_runs() {
        let held = Arc::new(AtomicUsize::new(0));
        let inside = Arc::clone(&held);
        let xs = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let ys = checkpoint(&xs, move |xs: &Tensor| {
            inside.fetch_add(1, Ordering::Relaxed);
            xs.f_exp()
        })
        .unwrap();
        assert_eq!((Arc::strong_count(&held), held.load(Ordering::Relaxed)), (2, 1));
        drop(ys);
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[test]
    fn a_failure_of_the_closure_is_reported_in_its_words() {
        let xs = Tensor::ones([2], (Kind::Float, Device::Cpu));
        let error = checkpoint(&xs, |_: &Tensor| Err(std::fmt::Error)).unwrap_err();
        assert!(error.to_string().contains(&std::fmt::Error.to_string()), "{error}");
    }
}
