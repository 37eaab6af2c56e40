//! The cells of an experiment and the order they run in.

use results::Kind;

use super::run_file::Variant;

/// Kind of measurement of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Answers, perplexity and the distance from the reference.
    Quality,
    /// Load time, time to first token, tokens a second, memory.
    Speed,
    /// Fine-tuning, and the answers after it.
    Training,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    /// Its name, unique in the matrix.
    pub(crate) id: String,
    /// Place of the variant in the list.
    pub(crate) variant: usize,
    pub(crate) measure: Measure,
    pub(crate) size: Option<usize>,
    pub(crate) seed: Option<u64>,
    pub(crate) repeat: usize,
}

/// Returns every cell, in rounds: the cells of a round differ in their variant alone.
pub(crate) fn rounds(
    kind: Kind,
    variants: &[Variant],
    sizes: &[usize],
    seeds: &[u64],
    repeats: usize,
) -> Vec<Vec<Job>> {
    let round = |measure, size, seed, repeat, name: String| -> Vec<Job> {
        let variants = variants.iter().enumerate();
        let id = |variant: &Variant| format!("{}/{name}", variant.name);
        variants.map(|(place, of)| Job { id: id(of), variant: place, measure, size, seed, repeat }).collect()
    };
    let mut rounds = Vec::new();
    match kind {
        Kind::MergeCompare => {
            let seed = seeds.first().copied();
            rounds.push(round(Measure::Quality, None, seed, 0, "quality".to_owned()));
            for repeat in 1..=repeats {
                rounds.push(round(Measure::Speed, None, seed, repeat, format!("speed-{repeat}")));
            }
        }
        Kind::LoraVsQlora => {
            for repeat in 0..repeats {
                for &seed in seeds {
                    for &size in sizes {
                        let name = format!("{size}-records/seed-{seed}/{repeat}");
                        rounds.push(round(Measure::Training, Some(size), Some(seed), repeat, name));
                    }
                }
            }
        }
    }
    rounds
}

/// Returns the order of running: who goes first in a round changes from round to round, so that a machine that warms up or slows
/// down favours nobody. Places in the flattened matrix.
pub(crate) fn order(rounds: &[Vec<Job>]) -> Vec<usize> {
    let mut order = Vec::new();
    let mut before = 0;
    for (number, round) in rounds.iter().enumerate() {
        let count = round.len();
        order.extend((0..count).map(|place| before + (place + number) % count));
        before += count;
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variants(names: &[&str]) -> Vec<Variant> {
        let one = |name: &&str| Variant { name: (*name).to_owned(), ..Variant::default() };
        names.iter().map(one).collect()
    }

    #[test]
    fn the_first_variant_of_a_round_changes_from_round_to_round() {
        let rounds = rounds(Kind::MergeCompare, &variants(&["a", "b", "c"]), &[], &[1], 2);
        let cells: Vec<&Job> = rounds.iter().flatten().collect();
        let ids: Vec<&str> = order(&rounds).into_iter().map(|place| &*cells[place].id).collect();
        let expected =
            "a/quality b/quality c/quality b/speed-1 c/speed-1 a/speed-1 c/speed-2 a/speed-2 b/speed-2";
        assert_eq!(ids.join(" "), expected);
    }

    #[test]
    fn every_cell_of_the_matrix_is_there_once() {
        let rounds = rounds(Kind::LoraVsQlora, &variants(&["a", "b"]), &[8, 16, 32], &[1, 2], 2);
        let mut ids: Vec<String> = rounds.iter().flatten().map(|cell| cell.id.clone()).collect();
        assert_eq!(ids.len(), 2 * 3 * 2 * 2);
        assert_eq!(ids[0], "a/8-records/seed-1/0");
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 24);
        let mut places = order(&rounds);
        places.sort_unstable();
        assert!(places.into_iter().eq(0..24));
    }
}
