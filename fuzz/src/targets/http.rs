//! What a server is sent.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::{set_hook, take_hook};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use alpaca_data::{ChatTemplate, PromptTemplate, Templates};
use infer::TokenText;
use nn_core::{BoxError, CausalLm, DecodeSession, NnError};
use serve::{Limits, PageDefaults, ServeConfig, Server, Source, SourceText};
use tch::{Kind, Tensor};

use crate::Target;
use crate::target::Verdict;

const VOCAB: i64 = 258;

/// Writes the alphabet, a letter after each prompt or letter.
struct Alphabet;

struct Rows(Vec<usize>);

impl CausalLm for Alphabet {
    fn vocab_size(&self) -> usize {
        VOCAB as usize
    }

    fn max_len(&self) -> usize {
        256
    }

    fn open(&self, rows: usize, _: usize) -> Result<Box<dyn DecodeSession + '_>, NnError> {
        Ok(Box::new(Rows(vec![0; rows])))
    }
}

impl Rows {
    /// Logits `[n, V]` of the letters of these rows.
    fn logits(&self, rows: impl Iterator<Item = usize>) -> Tensor {
        let letters: Vec<i64> = rows.map(|row| 97 + (self.0[row] % 26) as i64).collect();
        Tensor::from_slice(&letters).one_hot(VOCAB).to_kind(Kind::Float) * 9.0
    }
}

impl DecodeSession for Rows {
    fn prefill(&mut self, prompts: &[(usize, &[i64])]) -> Result<Tensor, NnError> {
        for &(row, prompt) in prompts {
            self.0[row] = prompt.len();
        }
        Ok(self.logits(prompts.iter().map(|&(row, _)| row)))
    }

    fn step(&mut self, tokens: &[(usize, i64)]) -> Result<Tensor, NnError> {
        for &(row, _) in tokens {
            self.0[row] += 1;
        }
        Ok(self.logits(tokens.iter().map(|&(row, _)| row)))
    }

    fn select(&mut self, parents: &[usize]) -> Result<(), NnError> {
        let old = self.0.clone();
        for (row, &parent) in parents.iter().enumerate() {
            self.0[row] = old[parent];
        }
        Ok(())
    }

    fn move_row(&mut self, from: usize, to: usize) -> Result<(), NnError> {
        self.0[to] = std::mem::take(&mut self.0[from]);
        Ok(())
    }

    fn len(&self, row: usize) -> usize {
        self.0[row]
    }
}

/// A token for each byte.
struct Bytes;

impl TokenText for Bytes {
    fn decode(&self, ids: &[i64]) -> Result<String, BoxError> {
        let bytes: Vec<u8> = ids.iter().filter_map(|&id| u8::try_from(id).ok()).collect();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl SourceText for Bytes {
    fn encode(&self, text: &str, _: bool) -> Result<Vec<i64>, BoxError> {
        Ok(text.bytes().map(i64::from).collect())
    }
}

/// Set once a thread of the server has panicked.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// Address of a server that runs until the process ends.
static SERVER: LazyLock<SocketAddr> = LazyLock::new(|| {
    let others = take_hook();
    set_hook(Box::new(move |panic| {
        PANICKED.store(true, Ordering::SeqCst);
        others(panic);
    }));
    let chat = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";
    let source = Source {
        name: "alphabet".to_owned(),
        description: "letters".to_owned(),
        adapter_off: None,
        model: Box::new(Alphabet),
        text: Arc::new(Bytes),
        templates: Templates {
            prompt: PromptTemplate::load("alpaca").expect("a built-in template"),
            chat: Some(ChatTemplate::new(chat.to_owned(), "<s>", "</s>")),
        },
        eos_ids: vec![257],
    };
    let limits = Limits {
        rows: 4,
        new_tokens: 32,
        prompt_tokens: 128,
        idle_time: Duration::from_secs(2),
        ..Limits::default()
    };
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = ServeConfig { address, api_key: None, limits, page: PageDefaults::default() };
    let server = Server::bind(vec![source], config).expect("a free port");
    let address = server.local_addr();
    thread::spawn(move || server.run());
    address
});

fn post(path: &str, body: &str) -> Vec<u8> {
    let head = "Host: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length:";
    format!("POST {path} HTTP/1.1\r\n{head} {}\r\n\r\n{body}", body.len()).into_bytes()
}

pub(super) const TARGET: Target = Target {
    name: "http",
    reads: "bytes of a connection: a `serve::Server` over a model that writes the alphabet",
    limit_s: 4,
    seeds: || {
        vec![
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_vec(),
            post("/v1/completions", r#"{"prompt": "ab", "max_tokens": 3, "logprobs": 2, "echo": true, "n": 2}"#),
            post("/v1/completions", r#"{"prompt": [[1, 2], [3]], "stop": ["d"], "temperature": 0.5, "top_p": 0.9, "seed": 1}"#),
            post(
                "/v1/chat/completions",
                r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}], "stream": true, "max_tokens": 4}"#,
            ),
            post("/v1/chat/completions", r#"{"messages": [{"role": "user", "content": "a"}], "num_beams": 2, "max_tokens": 2}"#),
            post("/tokenize", r#"{"content": "a b", "add_special": true}"#),
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n10\r\n\
              {\"prompt\": \"abc\"}\r\n0\r\n\r\n"
                .to_vec(),
        ]
    },
    run: send,
};

fn send(bytes: &[u8]) -> Verdict {
    let mut stream = TcpStream::connect(*SERVER).expect("a connection to the server");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
    // A server that refuses early may have closed the connection already.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let waited = read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    assert!(!waited, "the server keeps a connection open whose client has said all");
    assert!(!PANICKED.load(Ordering::SeqCst), "a thread of the server panicked");
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        !answer.contains("HTTP/1.1 500"),
        "an internal error: {}",
        answer.chars().take(2000).collect::<String>()
    );
    if answer.starts_with("HTTP/1.1 200") {
        return Ok(());
    }
    Err(format!("`{}`", answer.lines().last().unwrap_or_default()).into())
}
