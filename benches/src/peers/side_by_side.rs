//! Rounds in which all sides run, one after the other.

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

/// Runs `rounds` rounds of any number of `sides` and returns the results of each, a value for each round. Every other round
/// goes through the sides backwards.
pub(crate) fn in_turns<S, T>(
    rounds: usize,
    sides: &[S],
    mut run: impl FnMut(&S) -> Result<T>,
) -> Result<Vec<Vec<T>>> {
    let mut results: Vec<Vec<T>> = sides.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        let mut turns: Vec<_> = results.iter_mut().zip(sides).collect();
        if round % 2 == 1 {
            turns.reverse();
        }
        for (results, side) in turns {
            results.push(run(side)?);
        }
    }
    Ok(results)
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

    #[test]
    fn every_other_round_goes_backwards() {
        let mut order = String::new();
        let results = in_turns(3, &["a", "b", "c"], |side| {
            order.push_str(side);
            Ok(order.len())
        });
        assert_eq!(results.unwrap(), [[1, 6, 7], [2, 5, 8], [3, 4, 9]]);
        assert_eq!(order, "abccbaabc");
    }
}
