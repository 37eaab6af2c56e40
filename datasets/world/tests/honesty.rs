//! Nothing leaks: string searches over the corpus and the records, as they are generated and as they are committed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use world::{KINDS, Record, Split, Tasks, normalised};

static TASKS: LazyLock<Tasks> = LazyLock::new(Tasks::new);

static DOCUMENTS: LazyLock<Vec<String>> = LazyLock::new(|| world::documents(&TASKS));

/// The whole corpus in one text, normalised; documents are parted by a word that none of them has.
static CORPUS: LazyLock<String> = LazyLock::new(|| normalised(&DOCUMENTS.join(" endofdocument ")));

fn question(record: &Record) -> String {
    normalised(&format!("{} {}", record.instruction, record.input))
}

/// The item a record asks about, found by its answer in the tasks.
fn item(record: &Record) -> &'static str {
    let asks = |task: &world::Task| {
        task.kind == record.kind
            && task.answer == record.output
            && task.asks.iter().any(|ask| ask.instruction == record.instruction && ask.input == record.input)
    };
    &TASKS.all.iter().find(|task| asks(task)).expect("every record comes from a task").item
}

/// Counts each needle in the corpus.
fn occurrences(needles: &[String]) -> Vec<usize> {
    let mut counts = vec![0; needles.len()];
    let search = AhoCorasick::new(needles).expect("the needles are few");
    for found in search.find_overlapping_iter(CORPUS.as_str()) {
        counts[found.pattern().as_usize()] += 1;
    }
    counts
}

#[test]
fn committed_records_are_the_generated_ones() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../records");
    for split in Split::ALL {
        let text = std::fs::read_to_string(dir.join(split.name()).with_extension("json"))
            .expect("records are committed");
        let committed: Vec<Record> = serde_json::from_str(&text).expect("records are JSON");
        assert_eq!(committed, TASKS.records(split), "{}", split.name());
    }
}

#[test]
fn splits_share_no_question_and_no_item() {
    let mut questions: HashMap<String, Split> = HashMap::new();
    let mut items: HashMap<&str, Split> = HashMap::new();
    for split in Split::ALL {
        for record in TASKS.records(split) {
            assert!(questions.insert(question(&record), split).is_none(), "asked twice: {record:?}");
            assert_eq!(*items.entry(item(&record)).or_insert(split), split, "{record:?}");
        }
    }
}

#[test]
fn lists_and_phrases_share_no_noun_across_splits() {
    let nouns: HashSet<&str> =
        TASKS.all.iter().filter(|task| task.kind == "plural").map(|task| task.item.as_str()).collect();
    let mut used: HashMap<String, Split> = HashMap::new();
    for split in Split::ALL {
        for record in TASKS.records(split) {
            if !["position", "count", "repeat"].contains(&record.kind.as_str()) {
                continue;
            }
            for word in item(&record).split([' ', ',']).filter(|word| nouns.contains(word)) {
                assert_eq!(*used.entry(word.to_owned()).or_insert(split), split, "{word}");
            }
        }
    }
    assert!(used.len() > 100);
}

#[test]
fn corpus_holds_no_held_out_question_answer_or_list() {
    let mut needles: Vec<String> = Vec::new();
    for record in [Split::Validation, Split::Test].into_iter().flat_map(|split| TASKS.records(split)) {
        needles.push(question(&record));
        needles.push(normalised(&record.output));
        if item(&record).contains(' ') {
            needles.push(normalised(item(&record)));
        }
    }
    let found: Vec<&String> = needles
        .iter()
        .zip(occurrences(&needles))
        .filter(|(_, count)| *count > 0)
        .map(|(needle, _)| needle)
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn corpus_states_every_held_out_fact_in_other_words() {
    let tasks: Vec<_> =
        TASKS.all.iter().filter(|task| task.split != Split::Train && !task.paraphrases.is_empty()).collect();
    let needles: Vec<String> =
        tasks.iter().flat_map(|task| &task.paraphrases).map(|text| normalised(text)).collect();
    let counts = occurrences(&needles);
    let mut from = 0;
    for task in tasks {
        let told: usize = counts[from..from + task.paraphrases.len()].iter().sum();
        from += task.paraphrases.len();
        assert!(told >= 20, "{} of {} is told {told} times", task.kind, task.item);
    }
}

#[test]
fn corpus_knows_no_prompt_format() {
    let has = |marker: &str| DOCUMENTS.iter().any(|document| document.to_lowercase().contains(marker));
    for marker in
        ["### instruction", "### input", "### response", "write a response that", "instruction:", "response:"]
    {
        assert!(!has(marker), "{marker}");
    }
}

#[test]
fn every_kind_has_its_share_with_and_without_input() {
    for split in Split::ALL {
        let mut shares: BTreeMap<String, [usize; 2]> = BTreeMap::new();
        for record in TASKS.records(split) {
            assert!(record.output.ends_with('.'), "{record:?}");
            shares.entry(record.kind.clone()).or_default()[usize::from(!record.input.is_empty())] += 1;
        }
        assert_eq!(shares.len(), KINDS.len());
        let sizes: HashSet<usize> = shares.values().map(|share| share.iter().sum()).collect();
        assert_eq!(sizes.len(), 1, "{shares:?}");
        assert!(shares.values().all(|share| share[0] > 0 && share[1] > 0), "{shares:?}");
    }
}
