//! Operations whose two passes are closures.

use std::error::Error;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::ExtError;
use crate::error::{own, set_last_error};

type Pass = Box<dyn Fn(&Tensor) -> Result<Tensor, Box<dyn Error + Send + Sync>> + Send>;

struct Passes {
    forward: Pass,
    backward: Pass,
}

type Call = extern "C" fn(*mut c_void, *const C_tensor) -> *mut C_tensor;

unsafe extern "C" {
    fn torch_ext_custom(
        xs: *const C_tensor,
        forward: Call,
        backward: Call,
        drop: extern "C" fn(*mut c_void),
        user: *mut c_void,
    ) -> *mut C_tensor;
}

fn call(pass: &Pass, xs: *const C_tensor) -> *mut C_tensor {
    // SAFETY: a borrowed tensor of the C++ side; this takes a reference of its own.
    let xs = unsafe { Tensor::clone_from_ptr(xs.cast_mut()) };
    match catch_unwind(AssertUnwindSafe(|| pass(&xs))) {
        Ok(Ok(ys)) => return std::mem::ManuallyDrop::new(ys).as_mut_ptr(),
        Ok(Err(error)) => set_last_error(&error.to_string()),
        Err(_) => set_last_error("the closure of a custom operation panicked"),
    }
    std::ptr::null_mut()
}

extern "C" fn forward(user: *mut c_void, xs: *const C_tensor) -> *mut C_tensor {
    // SAFETY: `user` is the box made in `custom`, alive until `release`.
    call(unsafe { &(*user.cast::<Passes>()).forward }, xs)
}

extern "C" fn backward(user: *mut c_void, grad: *const C_tensor) -> *mut C_tensor {
    // SAFETY: as in `forward`.
    call(unsafe { &(*user.cast::<Passes>()).backward }, grad)
}

extern "C" fn release(user: *mut c_void) {
    // SAFETY: `user` came from `Box::into_raw`, and the C++ side releases it once.
    drop(unsafe { Box::from_raw(user.cast::<Passes>()) });
}

/// Runs an operation with passes of its own: `forward` maps `xs` to the result without recording its inside, `backward` maps
/// the gradient of the result to that of `xs`. Neither tensor is kept for the backward pass; what `backward` needs, it
/// has to hold.
///
/// # Errors
/// [`ExtError::Torch`] with the closure's own message when `forward` fails. A failure of `backward` is an error of the
/// backward pass.
pub fn custom<E, F, B>(xs: &Tensor, forward: F, backward: B) -> Result<Tensor, ExtError>
where
    E: Error + Send + Sync + 'static,
    F: Fn(&Tensor) -> Result<Tensor, E> + Send + 'static,
    B: Fn(&Tensor) -> Result<Tensor, E> + Send + 'static,
{
    let passes = Passes {
        forward: Box::new(move |xs| forward(xs).map_err(Into::into)),
        backward: Box::new(move |grad| backward(grad).map_err(Into::into)),
    };
    let user = Box::into_raw(Box::new(passes)).cast::<c_void>();
    // SAFETY: `xs` is alive for the call; `user` is given away.
    own("custom", unsafe { torch_ext_custom(xs.as_ptr(), self::forward, self::backward, release, user) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tch::{Device, Kind, TchError};

    #[test]
    fn the_gradient_equals_the_backward_closures_result() {
        let weight = Tensor::randn([3, 4], (Kind::Float, Device::Cpu));
        let xs = Tensor::randn([2, 4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        (xs.matmul(&weight.tr()).square()).sum(Kind::Float).backward();
        let expected = xs.grad().copy();
        let _ = xs.grad().zero_();
        let (ahead, back) = (weight.shallow_clone(), weight.shallow_clone());
        let ys =
            custom(&xs, move |xs| xs.f_matmul(&ahead.f_tr()?), move |grad| grad.f_matmul(&back)).unwrap();
        ys.square().sum(Kind::Float).backward();
        assert_eq!(xs.grad(), expected);
    }

    #[test]
    fn closures_are_freed_with_the_result() {
        let held = Arc::new(());
        for requires_grad in [true, false] {
            let xs = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(requires_grad);
            let (one, other) = (Arc::clone(&held), Arc::clone(&held));
            let ys = custom::<TchError, _, _>(
                &xs,
                move |xs| {
                    let _ = &one;
                    xs.f_exp()
                },
                move |grad| {
                    let _ = &other;
                    grad.f_exp()
                },
            );
            drop(ys.unwrap());
            assert_eq!(Arc::strong_count(&held), 1);
        }
    }

    #[test]
    fn a_failure_of_the_forward_closure_is_reported_in_its_words() {
        let xs = Tensor::ones([2], (Kind::Float, Device::Cpu));
        let failing = |_: &Tensor| Err(std::fmt::Error);
        let error = custom(&xs, failing, failing).unwrap_err().to_string();
        assert!(error.contains(&std::fmt::Error.to_string()), "{error}");
    }
}
