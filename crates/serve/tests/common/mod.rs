//! A model that echoes, a server over it, and a client that speaks plain HTTP.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use alpaca_data::{ChatTemplate, PromptTemplate, Templates};
use infer::{BoxError, TokenText};
use nn_core::{CausalLm, DecodeSession, NnError};
use serde_json::Value;
use serve::{Loader, ServeConfig, ServeError, Server, Source, SourceText, StopHandle};
use tch::Tensor;

const BOS: i64 = 256;
pub(crate) const EOS: i64 = 257;
const VOCAB: i64 = 258;

/// Continues a prompt with the prompt again, byte by byte, and then ends. A prompt that holds `forever` goes on for ever,
/// one that holds `fail` fails, one that holds `panic` panics.
pub(crate) struct Echo {
    /// Time of a step.
    pub(crate) step: Duration,
    /// Written in capitals from this byte of the answer on.
    pub(crate) capitals_from: usize,
    pub(crate) max_len: usize,
    /// Logit of the token that it writes; all others have 0.
    pub(crate) certainty: f64,
}

impl Default for Echo {
    fn default() -> Self {
        Self { step: Duration::ZERO, capitals_from: usize::MAX, max_len: 4096, certainty: 100.0 }
    }
}

#[derive(Clone, Default)]
struct Row {
    prompt: Vec<i64>,
    written: usize,
}

struct Echoing<'a> {
    echo: &'a Echo,
    rows: Vec<Row>,
}

impl CausalLm for Echo {
    fn vocab_size(&self) -> usize {
        VOCAB as usize
    }

    fn max_len(&self) -> usize {
        self.max_len
    }

    fn open(&self, rows: usize, _: usize) -> Result<Box<dyn DecodeSession + '_>, NnError> {
        Ok(Box::new(Echoing { echo: self, rows: vec![Row::default(); rows] }))
    }
}

impl Echoing<'_> {
    fn next(&self, row: usize) -> i64 {
        let Row { prompt, written } = &self.rows[row];
        let text: Vec<i64> = prompt.iter().copied().filter(|&id| id < 256).collect();
        let bytes: Vec<u8> = text.iter().map(|&id| id as u8).collect();
        let forever = String::from_utf8_lossy(&bytes).contains("forever");
        if !forever && *written >= text.len() {
            return EOS;
        }
        let id = text[written % text.len()];
        if *written >= self.echo.capitals_from && (97..123).contains(&id) { id - 32 } else { id }
    }

    /// Certain of the next token of each row, `[n, V]`.
    fn logits(&self, rows: impl Iterator<Item = usize>) -> Tensor {
        std::thread::sleep(self.echo.step);
        let next: Vec<i64> = rows.map(|row| self.next(row)).collect();
        let zeros = Tensor::zeros([next.len() as i64, VOCAB], tch::kind::FLOAT_CPU);
        zeros.scatter_value(1, &Tensor::from_slice(&next).view([-1, 1]), self.echo.certainty)
    }
}

impl DecodeSession for Echoing<'_> {
    fn prefill(&mut self, prompts: &[(usize, &[i64])]) -> Result<Tensor, NnError> {
        for &(row, prompt) in prompts {
            let bytes: Vec<u8> = prompt.iter().filter(|&&id| id < 256).map(|&id| id as u8).collect();
            let text = String::from_utf8_lossy(&bytes);
            if text.contains("fail") {
                return Err(NnError::TokenId { id: -1, vocab_size: VOCAB });
            }
            assert!(!text.contains("panic"), "as the prompt says");
            self.rows[row] = Row { prompt: prompt.to_vec(), written: 0 };
        }
        Ok(self.logits(prompts.iter().map(|&(row, _)| row)))
    }

    fn prefill_all(
        &mut self,
        row: usize,
        prompt: &[i64],
        _: usize,
        each: &mut dyn FnMut(&Tensor) -> Result<(), NnError>,
    ) -> Result<Tensor, NnError> {
        let last = self.prefill(&[(row, prompt)])?;
        // Certain of the token that follows, and half as certain of the one after it in the alphabet.
        for &id in &prompt[1..] {
            let logits = Tensor::zeros([1, VOCAB], tch::kind::FLOAT_CPU);
            let _ = logits.narrow(1, id, 1).fill_(50.0);
            let _ = logits.narrow(1, id + 1, 1).fill_(50.0 - 2.0_f64.ln());
            each(&logits)?;
        }
        each(&last)?;
        Ok(last)
    }

    fn step(&mut self, tokens: &[(usize, i64)]) -> Result<Tensor, NnError> {
        for &(row, _) in tokens {
            self.rows[row].written += 1;
        }
        Ok(self.logits(tokens.iter().map(|&(row, _)| row)))
    }

    fn select(&mut self, parents: &[usize]) -> Result<(), NnError> {
        let old = self.rows.clone();
        parents.iter().enumerate().for_each(|(row, &parent)| self.rows[row] = old[parent].clone());
        Ok(())
    }

    fn move_row(&mut self, from: usize, to: usize) -> Result<(), NnError> {
        self.rows[to] = std::mem::take(&mut self.rows[from]);
        Ok(())
    }

    fn len(&self, row: usize) -> usize {
        self.rows[row].prompt.len() + self.rows[row].written
    }
}

/// A token for each byte; a text of its own loses its first space, as SentencePiece has it.
pub(crate) struct Bytes;

impl TokenText for Bytes {
    fn decode(&self, ids: &[i64]) -> Result<String, BoxError> {
        let bytes: Vec<u8> = ids.iter().filter(|&&id| id < 256).map(|&id| id as u8).collect();
        Ok(String::from_utf8_lossy(bytes.strip_prefix(b" ").unwrap_or(&bytes)).into_owned())
    }
}

impl SourceText for Bytes {
    fn encode(&self, text: &str, add_bos: bool) -> Result<Vec<i64>, BoxError> {
        Ok(add_bos.then_some(BOS).into_iter().chain(text.bytes().map(i64::from)).collect())
    }

    fn decode_all(&self, ids: &[i64]) -> Result<String, BoxError> {
        let spelled = |id: &i64| match *id {
            BOS => "<s>".to_owned(),
            EOS => "</s>".to_owned(),
            id => char::from(id as u8).to_string(),
        };
        Ok(ids.iter().map(spelled).collect())
    }
}

const TEMPLATE: &str = r#"{"prompt_input": "{instruction} | {input}", "prompt_no_input": "{instruction}", "response_split": "|"}"#;

pub(crate) fn source(name: &str, echo: Echo, chat: Option<&str>) -> Source {
    Source {
        name: name.to_owned(),
        description: format!("an echo called {name}"),
        adapter_off: None,
        model: Box::new(echo),
        text: Arc::new(Bytes),
        templates: Templates {
            prompt: PromptTemplate::from_json("bare", TEMPLATE).unwrap(),
            chat: chat.map(|text| ChatTemplate::new(text.to_owned(), "<s>", "</s>")),
        },
        eos_ids: vec![EOS],
    }
}

/// A configuration for a free port of this machine.
pub(crate) fn config() -> ServeConfig {
    ServeConfig {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        api_key: None,
        limits: serve::Limits::default(),
        page: serve::PageDefaults::default(),
    }
}

/// A server in a thread; it stops when it is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stop: StopHandle,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

pub(crate) fn start(sources: Vec<Source>, config: ServeConfig) -> Running {
    let server = Server::bind(sources, config).unwrap();
    let (address, stop) = (server.local_addr(), server.stop_handle());
    Running { address, stop, thread: Some(std::thread::spawn(move || server.run())) }
}

/// One echo called `echo`, with everything at its default.
pub(crate) fn start_plain() -> Running {
    start(vec![source("echo", Echo::default(), None)], config())
}

/// A server that listens and has no sources yet.
pub(crate) fn start_empty(config: ServeConfig) -> (Running, Loader) {
    let server = Server::listen(config).unwrap();
    let (address, stop, loader) = (server.local_addr(), server.stop_handle(), server.loader());
    (Running { address, stop, thread: Some(std::thread::spawn(move || server.run())) }, loader)
}

impl Running {
    pub(crate) fn stop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.raw(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Response {
        self.raw(&request(path, body.as_bytes(), ""))
    }

    /// Sends bytes, reads one response.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Response {
        let mut stream = self.send(bytes);
        read_response(&mut stream)
    }

    /// Sends bytes; the response is the caller's to read.
    pub(crate) fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // A server that refuses early may have closed the connection already.
        let _ = stream.write_all(bytes);
        stream
    }

    /// Checks that it still answers a request.
    pub(crate) fn assert_alive(&self) {
        let response = self.post("/v1/completions", r#"{"prompt": "ok", "temperature": 0}"#);
        assert_eq!(response.json()["choices"][0]["text"], "ok", "{}", response.body);
    }

    /// One line's value on the page of metrics.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let page = self.get("/metrics").body;
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{page}")).parse().unwrap()
    }

    /// Waits until a metric has a value.
    pub(crate) fn wait_for(&self, name: &str, value: f64) {
        for _ in 0..500 {
            if (self.metric(name) - value).abs() < 0.5 {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{name} is {}; expected {value}", self.metric(name));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A POST of JSON.
pub(crate) fn request(path: &str, body: &[u8], headers: &str) -> Vec<u8> {
    let length = body.len();
    let mut bytes = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n{headers}\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The data of the events of a stream.
    pub(crate) fn events(&self) -> Vec<&str> {
        self.body.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect()
    }

    pub(crate) fn error(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap().to_owned()
    }
}

/// Reads a whole response, in chunks or not.
pub(crate) fn read_response(stream: &mut TcpStream) -> Response {
    let mut reader = BufReader::new(stream);
    let mut headers = String::new();
    while !headers.ends_with("\r\n\r\n") {
        assert!(
            reader.read_line(&mut headers).unwrap() > 0,
            "the connection ended in the headers: {headers:?}"
        );
    }
    let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
    let headers = headers.to_ascii_lowercase();
    let mut body = Vec::new();
    if headers.contains("transfer-encoding: chunked") {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).unwrap();
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    } else {
        let length = headers.lines().find_map(|line| line.strip_prefix("content-length: "));
        body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
        reader.read_exact(&mut body).unwrap();
    }
    Response { status, headers, body: String::from_utf8(body).unwrap() }
}
