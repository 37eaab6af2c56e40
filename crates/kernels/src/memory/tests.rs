//! Parts of memory that tasks share, and 16-bit rounding.

use super::*;

#[test]
fn every_element_is_in_one_part() {
    for (len, size) in [(0, 3), (1, 3), (7, 3), (12, 4), (5, 9)] {
        let (mut ones, mut twos) = (vec![0u32; len], vec![0u32; 2 * len]);
        let parts = (Chunks::new(&mut ones, size), Chunks::new(&mut twos, 2 * size));
        share(parts, |index, (ones, twos)| {
            assert_eq!(twos.len(), 2 * ones.len());
            for one in ones {
                *one += 1 + index as u32;
            }
            for two in twos {
                *two += 1;
            }
        });
        assert!(ones.iter().enumerate().all(|(i, &x)| x as usize == 1 + i / size), "{len} {size}");
        assert!(twos.iter().all(|&x| x == 1));
    }
    for (rows, width, step) in [(1, 5, 2), (3, 8, 4), (2, 3, 9), (0, 3, 2)] {
        let mut matrix = vec![0; rows * width];
        share(Columns::new(&mut matrix, width, step), |index, mut block| {
            assert_eq!(block.start, index * step);
            for row in 0..rows {
                let start = block.start;
                for (column, x) in block.row(row).iter_mut().enumerate() {
                    *x += 10 * row + start + column + 1;
                }
            }
        });
        let expected = |i: usize| 10 * (i / width) + i % width + 1;
        assert!(matrix.iter().enumerate().all(|(i, &x)| x == expected(i)), "{rows} {width} {step}");
    }
}

#[test]
fn threads_keep_a_state_and_give_it_back() {
    let total = std::sync::Mutex::new(0);
    let mut numbers = vec![1u64; 1000];
    let parts = Chunks::new(&mut numbers, 7);
    share_out(parts, || 0, |sum, _, part| *sum += part.len(), |sum| *total.lock().unwrap() += sum);
    assert_eq!(total.into_inner().unwrap(), 1000);
}

#[test]
fn rounding_to_16_bits_is_libtorchs() {
    // From 2^-40 to 2^19, of either sign.
    let xs: Vec<f32> = (0..5000).map(|i| (i as f32 * 0.7).sin() * 2f32.powi(i % 60 - 40)).collect();
    for (format, kind) in [(Format::Half, Kind::Half), (Format::BFloat16, Kind::BFloat16)] {
        let theirs = Tensor::from_slice(&xs).to_kind(kind);
        let theirs = half_bits(&theirs);
        assert_eq!(theirs.len(), xs.len());
        assert!(xs.iter().zip(theirs).all(|(&x, &bits)| format.narrow(x) == bits), "{format:?}");
    }
}
