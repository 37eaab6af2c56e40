//! Text of real tokenizers while it is written.

use crate::common::{load, shown, trained, ways};
use infer::{BoxError, FinishReason, GenerateConfig, TextStream, TokenText};
use llama_tokenizer::LlamaTokenizer;

struct Text(LlamaTokenizer);

impl TokenText for Text {
    fn decode(&self, ids: &[i64]) -> Result<String, BoxError> {
        Ok(self.0.decode(ids, true)?)
    }
}

const TEXTS: [&str; 5] = [
    "Tom said 🙂👩‍👧 and 你好，世界! Then he left.",
    "  two spaces,  and\n\nlines\t tabs",
    "naïve café — “quotes”…",
    "🙂🙂🙂",
    "x",
];

#[test]
fn streamed_pieces_of_real_tokenizers_join_to_the_text() {
    for name in ["stories15M-hf", "stories260K-hf"] {
        let Some(dir) = trained(name) else { return };
        let text = Text(LlamaTokenizer::from_dir(&dir).unwrap());
        for expected in TEXTS {
            let ids = text.0.encode(expected, false).unwrap();
            let mut stream = TextStream::new(&[]);
            let mut pieces: Vec<String> =
                ids.iter().map(|&id| stream.push(id, &text).unwrap().to_owned()).collect();
            assert!(pieces.iter().all(|piece| !piece.contains('\u{FFFD}')), "{name}: {pieces:?}");
            pieces.push(stream.finish(&text).unwrap().to_owned());
            assert_eq!(pieces.concat(), text.decode(&ids).unwrap(), "{name}");
            assert_eq!(pieces.concat(), expected, "{name}");
        }
    }
}

#[test]
fn the_streamed_text_ends_at_the_stop_string() {
    let Some(dir) = trained("stories15M-hf") else { return };
    let text = Text(LlamaTokenizer::from_dir(&dir).unwrap());
    let model = load(&dir);
    let prompts = vec![text.0.encode("Once upon a time", true).unwrap(), text.0.encode("Tom", true).unwrap()];
    for sampling in ways(1) {
        let config =
            GenerateConfig { max_new_tokens: 40, eos_ids: vec![2], sampling, ..GenerateConfig::default() };
        let (answers, pieces) = shown(&model, &text, &prompts, &config);
        for (answer, pieces) in answers.iter().zip(&pieces) {
            assert_eq!(answer.text, *pieces);
            assert_eq!(answer.text, text.decode(&answer.ids).unwrap());
        }
        if config.sampling.num_beams > 1 {
            continue;
        }
        // Six characters from the middle, across token borders.
        let whole: Vec<char> = answers[0].text.chars().collect();
        let stop: String = whole[40..46].iter().collect();
        let stopped = GenerateConfig { stop: vec!["never".repeat(9), stop.clone()], ..config };
        let (answers_to_stop, pieces) = shown(&model, &text, &prompts, &stopped);
        let expected = answers[0].text.split(&stop).next().unwrap();
        assert_eq!(
            (answers_to_stop[0].text.as_str(), answers_to_stop[0].finish),
            (expected, FinishReason::Stop)
        );
        assert_eq!(answers_to_stop[0].text, pieces[0]);
    }
}
