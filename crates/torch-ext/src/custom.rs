//! Operations whose two passes are closures.

use std::error::Error;
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::ExtError;
use crate::error::{last_error, own, set_last_error, with_causes};

type BoxError = Box<dyn Error + Send + Sync>;
type Forward = Box<dyn Fn(&[Tensor]) -> Result<Made, BoxError> + Send>;
type Backward = Box<dyn Fn(&[Tensor], &[Tensor], &[bool]) -> Result<Vec<Option<Tensor>>, BoxError> + Send>;

/// The most tensors of a [`Made`], as the C++ side has it.
const ROOM: usize = 8;

/// Tensors of a forward pass: results, and those kept for the backward pass beside inputs.
struct Made {
    results: Vec<Tensor>,
    kept: Vec<Tensor>,
}

struct Passes {
    forward: Forward,
    backward: Backward,
}

type Inputs = *const *const C_tensor;
type ForwardCall = extern "C" fn(*mut c_void, Inputs, i64, *mut *mut C_tensor) -> i64;
type BackwardCall =
    extern "C" fn(*mut c_void, Inputs, i64, Inputs, i64, *const bool, i64, *mut *mut C_tensor) -> c_int;

unsafe extern "C" {
    fn torch_ext_custom(
        inputs: Inputs,
        keeps: *const bool,
        count: i64,
        forward: ForwardCall,
        backward: BackwardCall,
        drop: extern "C" fn(*mut c_void),
        user: *mut c_void,
        results: *mut *mut C_tensor,
    ) -> i64;
}

/// Runs a closure for the C++ side, which is told of a failure.
fn guarded<T>(pass: impl FnOnce() -> Result<T, BoxError>) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(pass)) {
        Ok(Ok(value)) => return Some(value),
        Ok(Err(error)) => set_last_error(&with_causes(&*error)),
        Err(_) => set_last_error("the closure of a custom operation panicked"),
    }
    None
}

/// Takes references of one's own to tensors of the C++ side.
///
/// # Safety
/// `inputs` is an array of `count` living tensors.
unsafe fn borrowed(inputs: Inputs, count: usize) -> Vec<Tensor> {
    // SAFETY: the caller's promise.
    (0..count).map(|index| unsafe { Tensor::clone_from_ptr((*inputs.add(index)).cast_mut()) }).collect()
}

fn given_away(tensor: Tensor) -> *mut C_tensor {
    std::mem::ManuallyDrop::new(tensor).as_mut_ptr()
}

extern "C" fn forward(user: *mut c_void, inputs: Inputs, count: i64, made: *mut *mut C_tensor) -> i64 {
    // SAFETY: `user` is the box made in `apply`, alive until `release`; the C++ side hands over its list, and room for results.
    let (passes, inputs, slots) = unsafe {
        let slots = std::slice::from_raw_parts_mut(made, ROOM);
        (&*user.cast::<Passes>(), borrowed(inputs, count as usize), slots)
    };
    let Some(Made { results, kept }) = guarded(|| {
        let made = (passes.forward)(&inputs)?;
        let count = made.results.len() + made.kept.len();
        if count > ROOM {
            Err(format!("{count} tensors of a pass; expected at most {ROOM}").into())
        } else {
            Ok(made)
        }
    }) else {
        return 0;
    };
    let count = results.len();
    for (slot, tensor) in slots.iter_mut().zip(results.into_iter().chain(kept)) {
        *slot = given_away(tensor);
    }
    count as i64
}

extern "C" fn backward(
    user: *mut c_void,
    incoming: Inputs,
    results: i64,
    inputs: Inputs,
    kept: i64,
    wanted: *const bool,
    count: i64,
    grads: *mut *mut C_tensor,
) -> c_int {
    // SAFETY: as in `forward`; `wanted` and `grads` have `count` elements.
    let (passes, incoming, inputs, wanted, grads) = unsafe {
        let wanted = std::slice::from_raw_parts(wanted, count as usize);
        let grads = std::slice::from_raw_parts_mut(grads, count as usize);
        let incoming = borrowed(incoming, results as usize);
        (&*user.cast::<Passes>(), incoming, borrowed(inputs, kept as usize), wanted, grads)
    };
    let Some(written) = guarded(|| (passes.backward)(&incoming, &inputs, wanted)) else { return 0 };
    for (slot, tensor) in grads.iter_mut().zip(written) {
        *slot = tensor.map_or(std::ptr::null_mut(), given_away);
    }
    1
}

extern "C" fn release(user: *mut c_void) {
    // SAFETY: `user` came from `Box::into_raw`, and the C++ side releases it once.
    drop(unsafe { Box::from_raw(user.cast::<Passes>()) });
}

/// `inputs`: each with whether it is kept for the backward pass. Returns `M` results.
fn apply<const M: usize>(inputs: &[(&Tensor, bool)], passes: Passes) -> Result<[Tensor; M], ExtError> {
    let user = Box::into_raw(Box::new(passes)).cast::<c_void>();
    let keeps: Vec<bool> = inputs.iter().map(|(_, keep)| *keep).collect();
    let inputs: Vec<*const C_tensor> = inputs.iter().map(|(input, _)| input.as_ptr()).collect();
    let mut slots = [std::ptr::null_mut(); ROOM];
    // SAFETY: the inputs are alive for the call, and both lists have `count` elements; `user` is given away. There is room for
    // all results.
    let made = unsafe {
        let (count, slots) = (inputs.len() as i64, slots.as_mut_ptr());
        torch_ext_custom(inputs.as_ptr(), keeps.as_ptr(), count, forward, backward, release, user, slots)
    };
    let results = slots.iter().take(made as usize).map(|&slot| own("custom", slot));
    let results = results.collect::<Result<Vec<_>, _>>()?;
    results.try_into().map_err(|_| last_error("custom"))
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
        forward: Box::new(move |inputs| Ok(Made { results: vec![forward(&inputs[0])?], kept: Vec::new() })),
        backward: Box::new(move |grads, _, _| Ok(vec![Some(backward(&grads[0])?)])),
    };
    apply(&[(xs, false)], passes).map(|[ys]| ys)
}

/// Runs an operation of several inputs with passes of its own. `forward` maps the inputs to the result without recording its
/// inside; `backward` gets the gradient of the result, those inputs that are marked to be kept for it, and which gradients
/// are wanted.
///
/// # Errors
/// Those of [`custom`].
pub fn custom_of<const N: usize, E, F, B>(
    inputs: [(&Tensor, bool); N],
    forward: F,
    backward: B,
) -> Result<Tensor, ExtError>
where
    E: Error + Send + Sync + 'static,
    F: Fn(&[Tensor]) -> Result<Tensor, E> + Send + 'static,
    B: Fn(&Tensor, &[Tensor], [bool; N]) -> Result<[Option<Tensor>; N], E> + Send + 'static,
{
    let made = custom_with(
        inputs,
        move |inputs| Ok(([forward(inputs)?], Vec::new())),
        move |[grad], inputs, wanted| backward(grad, inputs, wanted),
    );
    made.map(|[ys]| ys)
}

/// Runs an operation of several inputs and results with passes of its own. `forward` maps the inputs to the results, and to
/// tensors that are kept for the backward pass, without recording its inside; `backward` gets the gradients of the results, those
/// inputs that are marked to be kept for it and then what `forward` kept, and which gradients are wanted. What is kept is let go
/// when the backward pass has used it. At most 8 tensors in all.
///
/// # Errors
/// Those of [`custom`].
pub fn custom_with<const N: usize, const M: usize, E, F, B>(
    inputs: [(&Tensor, bool); N],
    forward: F,
    backward: B,
) -> Result<[Tensor; M], ExtError>
where
    E: Error + Send + Sync + 'static,
    F: Fn(&[Tensor]) -> Result<([Tensor; M], Vec<Tensor>), E> + Send + 'static,
    B: Fn(&[Tensor; M], &[Tensor], [bool; N]) -> Result<[Option<Tensor>; N], E> + Send + 'static,
{
    let passes = Passes {
        forward: Box::new(move |inputs| {
            let (results, kept) = forward(inputs)?;
            Ok(Made { results: results.into(), kept })
        }),
        backward: Box::new(move |grads, kept, wanted| {
            let grads = grads.iter().map(Tensor::shallow_clone).collect::<Vec<_>>();
            let grads = grads.try_into().map_err(|_| "another number of gradients than of results")?;
            let wanted = std::array::from_fn(|index| wanted.get(index).copied().unwrap_or(false));
            Ok(backward(&grads, kept, wanted)?.into())
        }),
    };
    apply(&inputs, passes)
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

    /// `x · y²`, of which `y` may be frozen.
    #[test]
    fn gradients_of_several_inputs_equal_libtorchs_and_frozen_ones_are_not_asked_for() {
        for trains in [[true, true], [true, false], [false, true]] {
            let inputs =
                trains.map(|trains| Tensor::randn([5], (Kind::Float, Device::Cpu)).set_requires_grad(trains));
            let [x, y] = &inputs;
            let gradients = || -> Vec<Option<Tensor>> {
                let taken = |xs: &Tensor| xs.requires_grad().then(|| xs.grad().copy());
                let all = inputs.iter().map(taken).collect();
                inputs.iter().filter(|xs| xs.requires_grad()).for_each(|xs| _ = xs.grad().zero_());
                all
            };
            (x * y.square()).sum(Kind::Float).backward();
            let expected = gradients();
            let ours = custom_of(
                [(x, true), (y, true)],
                |inputs| inputs[0].f_mul(&inputs[1].f_square()?),
                move |grad, inputs, wanted| {
                    assert_eq!(wanted, trains);
                    let [x, y] = [&inputs[0], &inputs[1]];
                    let of_x = wanted[0].then(|| grad.f_mul(&y.f_square()?)).transpose()?;
                    let of_y = wanted[1].then(|| grad.f_mul(&(x * y * 2.0))).transpose()?;
                    Ok::<_, TchError>([of_x, of_y])
                },
            )
            .unwrap();
            ours.sum(Kind::Float).backward();
            for (ours, expected) in gradients().iter().zip(&expected) {
                let pair = ours.as_ref().zip(expected.as_ref());
                assert!(pair.is_none_or(|(ours, expected)| ours.allclose(expected, 1e-6, 1e-6, false)));
            }
        }
    }

    /// `x y` and `x + y`, of which one may go unused; the backward pass has `x - y` in the place of `y`.
    #[test]
    fn gradients_of_several_results_equal_libtorchs_also_where_one_is_not_used() {
        for uses in [[1.0, 0.0], [0.0, 1.0], [1.0, 3.0]] {
            let [x, y] =
                [0, 1].map(|_| Tensor::randn([5], (Kind::Float, Device::Cpu)).set_requires_grad(true));
            let loss = |[product, sum]: [&Tensor; 2]| -> Tensor {
                let parts = [(product, uses[0]), (sum, uses[1])].into_iter().filter(|(_, by)| *by != 0.0);
                parts.map(|(ys, by)| (ys.square() * by).sum(Kind::Float)).sum()
            };
            loss([&(&x * &y), &(&x + &y)]).backward();
            let expected = [&x, &y].map(|xs| xs.grad().copy());
            for xs in [&x, &y] {
                let _ = xs.grad().zero_();
            }
            let made: [Tensor; 2] = custom_with(
                [(&x, true), (&y, false)],
                |inputs| {
                    let [x, y] = [&inputs[0], &inputs[1]];
                    Ok::<_, TchError>(([x.f_mul(y)?, x.f_add(y)?], vec![x.f_sub(y)?]))
                },
                |[of_product, of_sum], kept, _| {
                    let (x, y) = (&kept[0], kept[0].f_sub(&kept[1])?);
                    let of = |other: &Tensor| of_product.f_mul(other)?.f_add(of_sum);
                    Ok([Some(of(&y)?), Some(of(x)?)])
                },
            )
            .unwrap();
            loss([&made[0], &made[1]]).backward();
            for (xs, expected) in [&x, &y].into_iter().zip(&expected) {
                assert!(xs.grad().allclose(expected, 1e-5, 1e-5, false), "{uses:?}");
            }
        }
    }

    #[test]
    fn more_tensors_than_there_is_room_for_are_an_error() {
        let xs = Tensor::ones([2], (Kind::Float, Device::Cpu));
        let many = |inputs: &[Tensor]| {
            let kept = (0..ROOM).map(|_| inputs[0].shallow_clone()).collect();
            Ok::<_, TchError>(([inputs[0].f_exp()?], kept))
        };
        let error = custom_with([(&xs, false)], many, |_: &[Tensor; 1], _, _| Ok([None])).unwrap_err();
        assert!(error.to_string().contains("expected at most 8"), "{error}");
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
