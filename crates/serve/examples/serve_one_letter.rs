//! A server over a model that says `a`, asked once over HTTP and stopped.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use alpaca_data::{PromptTemplate, Templates};
use infer::{BoxError, TokenText};
use nn_core::{CausalLm, DecodeSession, NnError};
use serve::{Limits, PageDefaults, ServeConfig, Server, Source, SourceText};
use tch::Tensor;

// ANCHOR: readme
fn main() -> Result<(), Box<dyn Error>> {
    let source = Source {
        name: "a".to_owned(),
        description: "says a".to_owned(),
        adapter_off: None,
        model: Box::new(SaysA),
        text: Arc::new(Bytes),
        templates: Templates { prompt: PromptTemplate::load("alpaca")?, chat: None },
        eos_ids: vec![0],
    };
    let config = ServeConfig {
        address: ([127, 0, 0, 1], 0).into(), // a free port
        api_key: None,
        limits: Limits::default(),
        page: PageDefaults::default(),
    };
    let server = Server::bind(vec![source], config)?;
    let (address, stop) = (server.local_addr(), server.stop_handle());
    let running = std::thread::spawn(move || server.run());

    let body = r#"{"prompt": "Say a.", "max_tokens": 3}"#;
    println!("{}", post(address, "/v1/completions", body)?);
    stop.stop();
    running.join().map_err(|_| "the server panicked")??;
    Ok(())
}
// ANCHOR_END: readme

fn post(address: std::net::SocketAddr, path: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    let length = body.len();
    write!(stream, "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n")?;
    write!(stream, "content-length: {length}\r\nconnection: close\r\n\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split("\r\n\r\n").last().unwrap_or_default().to_owned())
}

/// Knows one answer.
struct SaysA;

struct Saying {
    lengths: Vec<usize>,
}

impl CausalLm for SaysA {
    fn vocab_size(&self) -> usize {
        256
    }

    fn max_len(&self) -> usize {
        100
    }

    fn open(&self, rows: usize, _capacity: usize) -> Result<Box<dyn DecodeSession + '_>, NnError> {
        Ok(Box::new(Saying { lengths: vec![0; rows] }))
    }
}

impl Saying {
    fn logits(rows: usize) -> Tensor {
        let next = Tensor::from_slice(&vec![i64::from(b'a'); rows]).view([-1, 1]);
        Tensor::zeros([rows as i64, 256], tch::kind::FLOAT_CPU).scatter_value(1, &next, 100.0)
    }
}

impl DecodeSession for Saying {
    fn prefill(&mut self, prompts: &[(usize, &[i64])]) -> Result<Tensor, NnError> {
        for &(row, prompt) in prompts {
            self.lengths[row] = prompt.len();
        }
        Ok(Self::logits(prompts.len()))
    }

    fn step(&mut self, tokens: &[(usize, i64)]) -> Result<Tensor, NnError> {
        for &(row, _) in tokens {
            self.lengths[row] += 1;
        }
        Ok(Self::logits(tokens.len()))
    }

    fn select(&mut self, parents: &[usize]) -> Result<(), NnError> {
        let old = self.lengths.clone();
        parents.iter().enumerate().for_each(|(row, &parent)| self.lengths[row] = old[parent]);
        Ok(())
    }

    fn move_row(&mut self, from: usize, to: usize) -> Result<(), NnError> {
        self.lengths[to] = std::mem::take(&mut self.lengths[from]);
        Ok(())
    }

    fn len(&self, row: usize) -> usize {
        self.lengths[row]
    }
}

/// Token ids are bytes.
struct Bytes;

impl TokenText for Bytes {
    fn decode(&self, ids: &[i64]) -> Result<String, BoxError> {
        let bytes: Vec<u8> = ids.iter().filter_map(|&id| u8::try_from(id).ok()).collect();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl SourceText for Bytes {
    fn encode(&self, text: &str, _add_bos: bool) -> Result<Vec<i64>, BoxError> {
        Ok(text.bytes().map(i64::from).collect())
    }
}
