//! Rounds in which both sides run, one after the other.

use anyhow::Result;

/// Runs `rounds` rounds and hands out the pairs of results. Who goes first alternates, so that a machine that warms up or
/// slows down favours nobody.
pub(crate) fn interleaved<T>(
    rounds: usize,
    mut rust: impl FnMut() -> Result<T>,
    mut python: impl FnMut() -> Result<T>,
    mut each: impl FnMut(usize, &T, &T),
) -> Result<Vec<(T, T)>> {
    let mut pairs = Vec::new();
    for round in 0..rounds {
        let (ours, theirs) = if round % 2 == 0 {
            let theirs = python()?;
            (rust()?, theirs)
        } else {
            (rust()?, python()?)
        };
        each(round, &ours, &theirs);
        pairs.push((ours, theirs));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn the_first_place_alternates_and_no_side_is_mixed_up() {
        let order = RefCell::new(String::new());
        let side = |name: &'static str| {
            let order = &order;
            move || {
                order.borrow_mut().push_str(name);
                Ok(name)
            }
        };
        let pairs = interleaved(3, side("r"), side("p"), |_, _, _| {}).unwrap();
        assert_eq!(*order.borrow(), "prrppr");
        assert_eq!(pairs, [("r", "p"); 3]);
    }
}
