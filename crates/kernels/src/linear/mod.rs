//! A dense layer, with a loop for the few rows of decoding.

mod dot;
#[cfg(target_arch = "x86_64")]
#[path = "x86.rs"]
mod dots;
#[cfg(not(target_arch = "x86_64"))]
#[path = "none.rs"]
mod dots;

use half::{bf16, f16};
use tch::{Device, Kind, TchError, Tensor};

use self::dot::{Dot, GROUP};
use crate::element::{Element, Float};
use crate::memory::{Columns, elements, elements_mut, share};

/// Up to so many rows, reading the weight is what takes the time, and the kernel reads it once.
const MOST_ROWS: i64 = 8;
/// Bytes of weight that a thread takes at a time; they stay in its cache while every row passes over them.
const BLOCK_BYTES: usize = 256 << 10;
/// A product of fewer bytes is not worth waking threads for.
const SERIAL_BYTES: usize = 128 << 10;

/// Computes `xs · weightᵀ + bias`: `xs` `[.., in]`, `weight` `[out, in]`, `bias` `[out]`, to `[.., out]`, all of one kind.
///
/// Equal to libtorch's `linear` up to rounding. On a CPU with AVX-512 or AVX2, for up to 8 rows that need no gradient,
/// the product runs in a kernel that adds up in float32 and reads the weight once, as fast as memory gives it
/// (`docs/measurements.md` has the figures). Everything else is libtorch's.
///
/// # Errors
/// libtorch's, when shapes or kinds do not fit.
pub fn linear(xs: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
    if fits(xs, weight, bias) {
        let wide = || xs.f_to_kind(Kind::Float);
        let products = match xs.kind() {
            Kind::Float => dots::of_f32::<f32>().map(|dot| biased::<_, _, f32>(dot, xs, weight, bias)),
            Kind::Half => dots::of_f32::<f16>().map(|dot| biased::<_, _, f16>(dot, &wide()?, weight, bias)),
            Kind::BFloat16 => {
                if let Some(dot) = dots::of_bf16() {
                    Some(biased::<_, _, bf16>(dot, xs, weight, bias))
                } else {
                    dots::of_f32::<bf16>().map(|dot| biased::<_, _, bf16>(dot, &wide()?, weight, bias))
                }
            }
            _ => None,
        };
        if let Some(products) = products {
            return products;
        }
    }
    xs.f_linear(weight, bias)
}

/// Returns whether a loop here can do this product.
fn fits(xs: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> bool {
    let (size, shape) = (xs.size(), weight.size());
    let Some((width, rows)) = size.split_last() else { return false };
    let on_cpu =
        |xs: &Tensor| xs.device() == Device::Cpu && xs.kind() == weight.kind() && !xs.requires_grad();
    (1..=MOST_ROWS).contains(&rows.iter().product())
        && shape.len() == 2
        && shape[1] == *width
        && *width > 0
        && weight.is_contiguous()
        && [Some(xs), Some(weight), bias].into_iter().flatten().all(on_cpu)
        && bias.is_none_or(|bias| bias.size() == shape[..1])
}

/// Computes `xs · weightᵀ + bias`, rounded once.
fn biased<W: Element, X: Element, O: Float>(
    dot: Dot<W, X>,
    xs: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor, TchError> {
    match bias {
        None => multiply::<_, _, O>(dot, xs, weight),
        Some(bias) => {
            let products = multiply::<_, _, f32>(dot, xs, weight)?;
            products.f_add(&bias.f_to_kind(Kind::Float)?)?.f_to_kind(O::KIND)
        }
    }
}

/// Multiplies `xs` `[.., in]` by `weight` `[out, in]`, transposed: `[.., out]`.
fn multiply<W: Element, X: Element, O: Float>(
    dot: Dot<W, X>,
    xs: &Tensor,
    weight: &Tensor,
) -> Result<Tensor, TchError> {
    let xs = xs.f_contiguous()?;
    let mut size = xs.size();
    let (outputs, width) = (weight.size()[0] as usize, weight.size()[1] as usize);
    let rows = xs.numel() / width;
    if let Some(last) = size.last_mut() {
        *last = outputs as i64;
    }
    let mut products = Tensor::f_empty(&size, (O::KIND, Device::Cpu))?;
    let (inputs, weight) = (elements::<X>(&xs), elements::<W>(weight));
    let row_bytes = width * size_of::<W>();
    let block = if outputs * row_bytes <= SERIAL_BYTES {
        outputs
    } else {
        let threads = tch::get_num_threads().max(1) as usize;
        (BLOCK_BYTES / row_bytes).clamp(1, outputs.div_ceil(threads))
    };
    share(Columns::new(elements_mut::<O>(&mut products), outputs, block), |_, mut columns| {
        for row in (0..rows).step_by(GROUP) {
            let group = GROUP.min(rows - row);
            let inputs = &inputs[row * width..(row + group) * width];
            for column in 0..columns.len {
                let output = columns.start + column;
                let dots = dot.call(&weight[output * width..(output + 1) * width], inputs);
                for (index, dot) in dots.into_iter().take(group).enumerate() {
                    columns.row(row + index)[column] = O::narrow(dot);
                }
            }
        }
    });
    Ok(products)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Widths that fill no register, one, and many with a rest; products that run on one thread and on all.
    #[test]
    fn products_equal_libtorchs_for_every_kind_and_number_of_rows() {
        tch::manual_seed(7);
        // Without a kernel this is libtorch's own product, which in bfloat16 was off by 8.2e-3 on an emulated ARM processor.
        let bf16 = if dots::of_f32::<bf16>().is_some() { 8e-3 } else { 2e-2 };
        for (kind, tolerance) in [(Kind::Float, 1e-5), (Kind::BFloat16, bf16), (Kind::Half, 1e-3)] {
            for (width, outputs) in [(1, 3), (16, 5), (77, 130), (576, 1000)] {
                for rows in [1, 2, 3, 4, 5, 8] {
                    let random =
                        |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind);
                    let xs = random(&[rows, 1, width]);
                    let (weight, bias) = (random(&[outputs, width]), random(&[outputs]));
                    for bias in [None, Some(&bias)] {
                        assert!(fits(&xs, &weight, bias));
                        let ours = linear(&xs, &weight, bias).unwrap();
                        let exact = xs
                            .to_kind(Kind::Double)
                            .linear(&weight.to_kind(Kind::Double), bias.map(|b| b.to_kind(Kind::Double)));
                        assert_eq!((ours.size(), ours.kind()), (exact.size(), kind));
                        let error = (ours.to_kind(Kind::Double) - &exact).abs()
                            / (exact.abs() + (width as f64).sqrt());
                        let error = error.max().double_value(&[]);
                        assert!(error < tolerance, "{kind:?} {rows}x{width}x{outputs}: {error}");
                    }
                }
            }
        }
    }

    #[test]
    fn many_rows_and_gradients_are_left_to_libtorch() {
        let options = (Kind::Float, Device::Cpu);
        let weight = Tensor::randn([4, 16], options);
        let fits = |xs: &Tensor| fits(xs, &weight, None);
        assert!(fits(&Tensor::randn([8, 16], options)));
        assert!(!fits(&Tensor::randn([9, 16], options)));
        assert!(!fits(&Tensor::randn([1, 16], options).set_requires_grad(true)));
        assert!(!fits(&Tensor::randn([1, 15], options)));
        assert!(linear(&Tensor::randn([1, 15], options), &weight, None).is_err());
    }
}
