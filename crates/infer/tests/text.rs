//! Text that is shown while it is written.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use infer::{BoxError, TextStream, TokenText};
use proptest::prelude::*;

/// Ids below 256 are bytes, as SentencePiece falls back to them; the others are these pieces. The first piece of a text
/// loses the space before it, and a run of bytes that is no text becomes as many U+FFFD.
struct Pieces;

const PIECES: [&str; 9] = [" a", " the", "he", " ", ".", "é", "你", " END", "EN"];
const SPECIAL: i64 = 300;

impl TokenText for Pieces {
    fn decode(&self, ids: &[i64]) -> Result<String, BoxError> {
        let mut text = String::new();
        let mut run = Vec::new();
        let flush = |text: &mut String, run: &mut Vec<u8>| {
            match std::str::from_utf8(run) {
                Ok(run) => text.push_str(run),
                Err(_) => text.extend(run.iter().map(|_| '\u{FFFD}')),
            }
            run.clear();
        };
        for &id in ids.iter().filter(|&&id| id != SPECIAL) {
            if id < 256 {
                run.push(u8::try_from(id)?);
            } else {
                flush(&mut text, &mut run);
                text.push_str(PIECES.get(usize::try_from(id - 256)?).ok_or("no such piece")?);
            }
        }
        flush(&mut text, &mut run);
        Ok(text.strip_prefix(' ').map(str::to_owned).unwrap_or(text))
    }
}

/// All pieces of a stream, the last from its end.
fn stream(ids: &[i64], stop: &[&str]) -> (Vec<String>, TextStream) {
    let stop: Vec<String> = stop.iter().map(|&stop| stop.to_owned()).collect();
    let mut stream = TextStream::new(&stop);
    let mut pieces: Vec<String> =
        ids.iter().map(|&id| stream.push(id, &Pieces).unwrap().to_owned()).collect();
    pieces.push(stream.finish(&Pieces).unwrap().to_owned());
    (pieces, stream)
}

fn bytes(text: &str) -> Vec<i64> {
    text.bytes().map(i64::from).collect()
}

/// Pieces and whole characters in bytes.
fn texts() -> impl Strategy<Value = Vec<i64>> {
    let token = prop_oneof![
        4 => (256..256 + PIECES.len() as i64).prop_map(|id| vec![id]),
        1 => Just(vec![SPECIAL]),
        3 => prop::sample::select(vec!["🙂", "你", "好", "ß", "x", " ", "👩‍👧"]).prop_map(bytes),
    ];
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

#[test]
fn a_character_of_several_tokens_is_shown_when_it_is_whole() {
    let (pieces, _) = stream(&[vec![256], bytes("🙂你"), vec![257]].concat(), &[]);
    let expected = ["a", "", "", "", "🙂", "", "", "你", " the", ""];
    assert_eq!(pieces, expected);
}

#[test]
fn a_character_that_stays_unfinished_is_shown_at_the_end() {
    let (pieces, stream) = stream(&[257, 0xF0, 0x9F], &[]);
    assert_eq!(pieces, ["the", "", "", "\u{FFFD}\u{FFFD}"]);
    assert_eq!(stream.text(), "the\u{FFFD}\u{FFFD}");
}

#[test]
fn what_may_become_a_stop_string_is_held_back() {
    let (pieces, _) = stream(&[256, 264, 258, 256, 264], &["ENDE"]);
    assert_eq!(pieces, ["a", "", "ENhe", " a", "", "EN"]);
    // " END" and "EN" meet across a border.
    let (pieces, stream) = stream(&[256, 263, 264, 256], &["DEN", "xyz"]);
    assert_eq!(pieces, ["a", " EN", "", "", ""]);
    assert!(stream.stopped());
    assert_eq!(stream.ids(), [256, 263, 264]);
}

proptest! {
    #[test]
    fn the_pieces_together_are_the_text(ids in texts()) {
        let (pieces, stream) = stream(&ids, &[]);
        prop_assert_eq!(pieces.concat(), Pieces.decode(&ids).unwrap());
        prop_assert_eq!(stream.text(), Pieces.decode(&ids).unwrap());
        let whole = pieces.iter().all(|piece| !piece.contains('\u{FFFD}'));
        prop_assert!(whole, "{:?}", pieces);
    }

    #[test]
    fn a_continuation_is_what_it_adds_to_the_text_before(before in texts(), ids in texts()) {
        let old = Pieces.decode(&before).unwrap();
        // Of the last tokens alone, which are all that is decoded.
        prop_assume!(!Pieces.decode(&before[before.len().saturating_sub(12)..]).unwrap().is_empty());
        let whole = Pieces.decode(&[&before[..], &ids].concat()).unwrap();
        let mut stream = TextStream::after(&before, &[]);
        let mut text = String::new();
        for &id in &ids {
            text.push_str(stream.push(id, &Pieces).unwrap());
        }
        text.push_str(stream.finish(&Pieces).unwrap());
        prop_assert_eq!(&text, whole.strip_prefix(&old).unwrap());
        prop_assert_eq!(stream.ids(), ids);
        prop_assert_eq!(stream.text(), text);
    }

    #[test]
    fn a_text_ends_before_the_first_stop_string(ids in texts(), stops in prop::sample::subsequence(vec!["EN", " a", "好x", "the END", "..", "a a"], 1..4)) {
        let whole = Pieces.decode(&ids).unwrap();
        // The first that is complete, not the first that begins.
        let ends = |upto: &str| stops.iter().filter_map(|stop| upto.find(stop)).min();
        let first = (0..=whole.len()).filter(|&at| whole.is_char_boundary(at)).find_map(|at| ends(&whole[..at]));
        let (pieces, stream) = stream(&ids, &stops);
        prop_assert_eq!(stream.stopped(), first.is_some());
        let text = pieces.concat();
        prop_assert_eq!(stream.text(), &text);
        prop_assert!(whole.starts_with(&text));
        if first.is_none() {
            prop_assert_eq!(&text, &whole);
        } else {
            prop_assert!(stops.iter().all(|stop| !text.contains(stop)));
            prop_assert!(stops.iter().any(|stop| whole[text.len()..].starts_with(stop)));
        }
    }

    #[test]
    fn any_bytes_give_a_text_that_grows(ids in prop::collection::vec(0..256_i64, 0..60)) {
        let (pieces, stream) = stream(&ids, &["\u{FFFD}a"]);
        prop_assert_eq!(pieces.concat(), stream.text());
    }
}
