//! The adapter of a linear layer.

use tch::{Device, Kind, TchError, Tensor};
use torch_ext::custom_of;

use super::gradient::as_torch;
use super::low_rank_gpu;
use super::mask::Dropout;
use super::passes::Passes;
use super::rank::{Factor, LowRank, Matrix, padded};
use crate::element::{Float, for_kind};
use crate::gpu::Pass;
use crate::memory::{Chunks, elements, elements_mut, share};

/// Rows that a thread works on at a time.
const ROWS: usize = 32;
/// Most parts whose gradients of the factors are added up. They do not depend on the number of threads.
const MOST_PARTS: usize = 16;

/// Computes `base + scale · (dropout(x) Aᵀ) Bᵀ` (`LoRA`, Hu et al., 2021, arXiv 2106.09685, §4.1): `base` `[.., out]` and `xs`
/// `[.., in]` to `[.., out]`, in the kind of `base`. On a CPU the factors' products are in float32 whatever the kind of `xs`, as with
/// PEFT's `autocast_adapter_dtype`; on a GPU in the kind of `xs`, as under PyTorch's autocast: products in float32 would keep a copy of
/// `xs` for each layer, and run on no tensor core.
///
/// On a CPU in one pass over the rows, and all gradients in another; of `xs` nothing is kept but itself. On a GPU with kernels of ours
/// as products of matrices, with both factors converted in one launch. Equal to libtorch's operations up to the order of the sums.
///
/// # Errors
/// libtorch's, when shapes or kinds do not fit.
pub fn add_low_rank(
    base: &Tensor,
    xs: &Tensor,
    factors: LowRank<'_>,
    dropout: Option<Dropout>,
) -> Result<Tensor, TchError> {
    let LowRank { a, b, scale } = factors;
    match passes_of(base, xs, factors, dropout) {
        Passes::Operations => return by_operations(base, xs, factors, dropout),
        Passes::Kernels => return low_rank_gpu::add_low_rank(base, xs, factors, dropout),
        Passes::Loops => {}
    }
    let forward = move |base: &Tensor, xs: &Tensor, factors: LowRank<'_>| {
        let other = || Err(TchError::Kind(format!("an adapter of {:?}", base.kind())));
        for_kind!(base.kind(), added(base, xs, factors, dropout), other())
    };
    if ![base, xs, a, b].iter().any(|tensor| tensor.requires_grad()) {
        return forward(base, xs, factors);
    }
    custom_of(
        [(base, false), (xs, true), (a, true), (b, true)],
        move |inputs| forward(&inputs[0], &inputs[1], LowRank { a: &inputs[2], b: &inputs[3], scale }),
        move |grad, kept, wanted| {
            let (grad, factors) = (grad.f_contiguous()?, LowRank { a: &kept[1], b: &kept[2], scale });
            let other = || Err(TchError::Kind(format!("an adapter of {:?}", grad.kind())));
            let [of_xs, of_a, of_b] =
                for_kind!(grad.kind(), gradients(&grad, &kept[0], factors, dropout, wanted[1]), other())?;
            Ok([Some(grad), of_xs, of_a, of_b])
        },
    )
    .map_err(as_torch)
}

fn passes_of(base: &Tensor, xs: &Tensor, factors: LowRank<'_>, dropout: Option<Dropout>) -> Passes {
    let LowRank { a, b, .. } = factors;
    if !fits(base, xs, factors) || a.device() != base.device() {
        return Passes::Operations;
    }
    let kernels: &[Pass] = if dropout.is_some() { &[Pass::Factors, Pass::Dropout] } else { &[Pass::Factors] };
    match (Passes::of(&[base, xs], kernels), Passes::of(&[a, b], &[])) {
        (_, Passes::Operations) => Passes::Operations,
        (passes, _) => passes,
    }
}

fn fits(base: &Tensor, xs: &Tensor, LowRank { a, b, .. }: LowRank<'_>) -> bool {
    let (output, input) = (base.size(), xs.size());
    let (Some((&out, rows)), Some((&width, input_rows))) = (output.split_last(), input.split_last()) else {
        return false;
    };
    rows == input_rows
        && a.dim() == 2
        && a.size()[1] == width
        && b.size() == [out, a.size()[0]]
        && a.kind() == Kind::Float
        && xs.numel() > 0
        && base.numel() > 0
        && a.numel() > 0
}

fn by_operations(
    base: &Tensor,
    xs: &Tensor,
    LowRank { a, b, scale }: LowRank<'_>,
    dropout: Option<Dropout>,
) -> Result<Tensor, TchError> {
    // The factors are small, and their gradients are in float32 either way.
    let kind = if xs.device() == Device::Cpu { a.kind() } else { xs.kind() };
    let (a, b, mut xs) = (a.f_to_kind(kind)?, b.f_to_kind(kind)?, xs.f_to_kind(kind)?);
    if let Some(dropout) = dropout {
        xs = dropout.apply(&xs)?;
    }
    let low = xs.f_linear(&a, None::<&Tensor>)?.f_mul_scalar(scale)?; // [.., r]
    if base.kind() == low.kind() && base.dim() == 2 {
        return base.f_addmm(&low, &b.f_tr()?);
    }
    base.f_add(&low.f_linear(&b, None::<&Tensor>)?.f_to_kind(base.kind())?)
}

/// Factors as the loops read them.
struct Packed {
    /// `[r, in]`.
    a: Factor,
    /// `Bᵀ`, `[r, out]`.
    b: Factor,
    scale: f32,
}

impl Packed {
    fn new(LowRank { a, b, scale }: LowRank<'_>) -> Self {
        let (rank, out) = (a.size()[0] as usize, b.size()[0] as usize);
        Self {
            a: Factor::of_rows(elements(a), rank),
            b: Factor::of_columns(elements(b), out, rank),
            scale: scale as f32,
        }
    }
}

fn added<T: Float>(
    base: &Tensor,
    xs: &Tensor,
    factors: LowRank<'_>,
    dropout: Option<Dropout>,
) -> Result<Tensor, TchError> {
    let packed = Packed::new(factors);
    let (bases, inputs) = (elements::<T>(base), elements::<T>(xs));
    let (width, out_width) = (packed.a.width, packed.b.width);
    let mut ys = base.f_empty_like()?;
    share(Chunks::new(elements_mut::<T>(&mut ys), ROWS * out_width), |task, out| {
        let (first, rows) = (task * ROWS, out.len() / out_width);
        let x = Matrix::widened(&inputs[first * width..][..rows * width], width, dropout, first);
        let low = packed.a.products(&x, packed.scale);
        let mut y = Matrix::widened(&bases[first * out_width..][..rows * out_width], out_width, None, first);
        packed.b.add_to(&mut y, &low);
        y.narrowed(out);
    });
    Ok(ys)
}

/// Computes the gradients of `xs`, `A` and `B`. With `d = scale · grad B` and `x = dropout(xs)`: `d A` through the same dropout, `dᵀ x`,
/// `scale · gradᵀ (x Aᵀ)`.
fn gradients<T: Float>(
    grad: &Tensor,
    xs: &Tensor,
    factors: LowRank<'_>,
    dropout: Option<Dropout>,
    of_xs: bool,
) -> Result<[Option<Tensor>; 3], TchError> {
    let packed = Packed::new(factors);
    let (grads, inputs) = (elements::<T>(grad), elements::<T>(xs));
    let (width, out_width, rank) = (packed.a.width, packed.b.width, packed.a.rank);
    let rows = inputs.len() / width;
    let part_rows = rows.div_ceil(MOST_PARTS).next_multiple_of(ROWS);
    let parts = rows.div_ceil(part_rows);
    let (a_len, b_len) = (rank * padded(width), rank * padded(out_width));
    let mut sums = vec![0f32; parts * (a_len + b_len)];
    let mut d_xs = xs.f_empty_like()?;
    let chunks =
        (Chunks::new(&mut sums, a_len + b_len), Chunks::new(elements_mut::<T>(&mut d_xs), part_rows * width));
    share(chunks, |part, (sums, d_xs)| {
        let (of_a, of_b) = sums.split_at_mut(a_len);
        for (index, d_xs) in d_xs.chunks_mut(ROWS * width).enumerate() {
            let (first, rows) = (part * part_rows + index * ROWS, d_xs.len() / width);
            let mut x = Matrix::widened(&inputs[first * width..][..rows * width], width, dropout, first);
            let g = Matrix::widened(&grads[first * out_width..][..rows * out_width], out_width, None, first);
            let (low, d) = (packed.a.products(&x, packed.scale), packed.b.products(&g, packed.scale));
            x.add_outer_to(&d, of_a);
            g.add_outer_to(&low, of_b);
            if of_xs {
                x.clear();
                packed.a.add_to(&mut x, &d);
                x.masked(dropout, first);
                x.narrowed(d_xs);
            }
        }
    });
    let (first, others) = sums.split_at_mut(a_len + b_len);
    for part in others.chunks_exact(a_len + b_len) {
        first.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
    let cpu = (Kind::Float, Device::Cpu);
    let mut d_a = Tensor::f_empty([rank as i64, width as i64], cpu)?;
    let mut d_b = Tensor::f_empty([out_width as i64, rank as i64], cpu)?;
    let (of_a, of_b) = first.split_at(a_len);
    let rows = elements_mut::<f32>(&mut d_a).chunks_exact_mut(width).zip(of_a.chunks_exact(padded(width)));
    rows.for_each(|(row, sums)| row.copy_from_slice(&sums[..width]));
    for (column, row) in elements_mut::<f32>(&mut d_b).chunks_exact_mut(rank).enumerate() {
        row.iter_mut().enumerate().for_each(|(r, value)| *value = of_b[r * padded(out_width) + column]);
    }
    Ok([of_xs.then_some(d_xs), Some(d_a), Some(d_b)])
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        base: Tensor,
        xs: Tensor,
        a: Tensor,
        b: Tensor,
    }

    impl Case {
        fn new(kind: Kind, [rows, width, out, rank]: [i64; 4]) -> Self {
            let random = |shape: [i64; 2]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
            let leaf = |xs: Tensor| xs.set_requires_grad(true);
            Self {
                base: leaf(random([rows, out]).to_kind(kind)),
                xs: leaf(random([rows, width]).to_kind(kind)),
                a: leaf(random([rank, width]) / (width as f64).sqrt()),
                b: leaf(random([out, rank])),
            }
        }

        fn factors(&self) -> LowRank<'_> {
            LowRank { a: &self.a, b: &self.b, scale: 1.75 }
        }

        fn leaves(&self) -> [&Tensor; 4] {
            [&self.base, &self.xs, &self.a, &self.b]
        }

        /// The same numbers in float64.
        fn exact(&self) -> Self {
            let double = |xs: &Tensor| xs.detach().to_kind(Kind::Double).set_requires_grad(true);
            let [base, xs, a, b] = self.leaves().map(double);
            Self { base, xs, a, b }
        }

        /// Returns the result and the gradients of all leaves.
        fn pass(&self, ys: &Tensor, grad: &Tensor) -> Vec<Tensor> {
            (ys * grad.to_kind(ys.kind())).sum(Kind::Double).backward();
            let grads = self.leaves().map(|leaf| leaf.grad().copy());
            [ys.detach()].into_iter().chain(grads).map(|xs| xs.to_kind(Kind::Double)).collect()
        }
    }

    /// Widths that fill no lane, some and many; ranks below, at and above a group; one row, and more parts than one.
    const SHAPES: [[i64; 4]; 6] =
        [[1, 5, 3, 1], [33, 16, 40, 4], [70, 77, 50, 3], [5, 64, 33, 9], [1100, 24, 16, 8], [600, 33, 20, 5]];

    #[test]
    fn result_and_gradients_equal_those_of_the_operations_in_float64() {
        tch::manual_seed(8);
        for (kind, tolerance) in [(Kind::Float, 2e-6), (Kind::BFloat16, 6e-3), (Kind::Half, 8e-4)] {
            for shape in SHAPES {
                let case = Case::new(kind, shape);
                let grad = Tensor::randn([shape[0], shape[2]], (Kind::Float, Device::Cpu)).to_kind(kind);
                assert_eq!(passes_of(&case.base, &case.xs, case.factors(), None), Passes::Loops);
                let ours =
                    case.pass(&add_low_rank(&case.base, &case.xs, case.factors(), None).unwrap(), &grad);
                let exact = case.exact();
                let reference = by_operations(&exact.base, &exact.xs, exact.factors(), None).unwrap();
                for (index, (ours, exact)) in ours.iter().zip(exact.pass(&reference, &grad)).enumerate() {
                    let error = (ours - &exact).abs().max().double_value(&[]);
                    let size = exact.abs().max().double_value(&[]);
                    // The factors' gradients are float32, of inputs rounded to the kind.
                    assert!(error <= tolerance * size, "{kind:?} {shape:?} {index}: {error} of {size}");
                }
            }
        }
    }

    /// Inside the loops dropout is that of [`Dropout::apply`], forward and backward.
    #[test]
    fn dropout_equals_dropout_by_itself() {
        tch::manual_seed(9);
        let dropout = Some(Dropout { p: 0.3, seed: 4 });
        for shape in SHAPES {
            let case = Case::new(Kind::Float, shape);
            let grad = Tensor::randn([shape[0], shape[2]], (Kind::Float, Device::Cpu));
            let mut passes = Vec::new();
            for by in [add_low_rank, by_operations] {
                case.leaves().iter().for_each(|leaf| leaf.shallow_clone().zero_grad());
                passes.push(case.pass(&by(&case.base, &case.xs, case.factors(), dropout).unwrap(), &grad));
            }
            for (ours, reference) in passes[0].iter().zip(&passes[1]) {
                let error = (ours - reference).abs().max().double_value(&[]);
                assert!(error <= 3e-6 * reference.abs().max().double_value(&[]), "{shape:?}: {error}");
            }
        }
    }

    #[test]
    fn gradients_have_the_same_bits_on_any_number_of_threads() {
        tch::manual_seed(10);
        let case = Case::new(Kind::BFloat16, [900, 40, 24, 8]);
        let grad = Tensor::randn([900, 24], (Kind::Float, Device::Cpu));
        let threads = tch::get_num_threads();
        let mut passes = Vec::new();
        for count in [1, 3] {
            tch::set_num_threads(count);
            case.leaves().iter().for_each(|leaf| leaf.shallow_clone().zero_grad());
            let dropout = Some(Dropout { p: 0.1, seed: 1 });
            passes.push(
                case.pass(&add_low_rank(&case.base, &case.xs, case.factors(), dropout).unwrap(), &grad),
            );
        }
        tch::set_num_threads(threads);
        assert_eq!(passes[0], passes[1]);
    }

    #[test]
    fn a_frozen_input_gets_no_gradient_and_other_shapes_are_left_to_libtorch() {
        let case = Case::new(Kind::Float, [4, 8, 6, 2]);
        let xs = case.xs.detach();
        let ys = add_low_rank(&case.base, &xs, case.factors(), None).unwrap();
        ys.sum(Kind::Float).backward();
        assert!(case.a.grad().defined() && !xs.grad().defined());
        // The base in bfloat16, the input in float32: of other kinds than each other.
        let base = case.base.to_kind(Kind::BFloat16);
        assert_eq!(add_low_rank(&base, &xs, case.factors(), None).unwrap().kind(), Kind::BFloat16);
        assert!(add_low_rank(&case.base, &xs.narrow(1, 0, 7), case.factors(), None).is_err());
    }
}
