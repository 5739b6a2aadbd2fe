//! Answers that are damaged at random: nothing panics, and what is taken for a call is whole.

use std::panic::AssertUnwindSafe;
use std::sync::Mutex;

use futures::FutureExt;
use longhaul::models::{Request, Role, ToolSpec};
use serde_json::json;

use super::provider::{Provider, Reply};
use super::wire::{FORMATS, call};

/// Small and repeatable.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most.max(1)
    }
}

/// The bytes of a stream, a few of them replaced, removed, doubled or made up.
fn damaged(whole: &[u8], dice: &mut Dice) -> Vec<u8> {
    const SCRAPS: [&[u8]; 8] =
        [b"\n\n", b"data: ", b"\xff\xfe", b"{", b"\"", b"null", b"data: [DONE]\n\n", b"\r"];
    let mut bytes = whole.to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len());
        match dice.below(4) {
            0 => bytes[at] = dice.below(256) as u8,
            1 => drop(bytes.drain(at..(at + dice.below(40)).min(bytes.len() - 1))),
            2 => {
                let end = (at + dice.below(200)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => drop(bytes.splice(at..at, SCRAPS[dice.below(SCRAPS.len())].iter().copied())),
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn no_noise_makes_the_client_panic_or_ask_for_half_a_call() {
    const ROUNDS: usize = 400;
    for format in FORMATS {
        let whole = format.events(call("pay", &["{\"sum\":", " 7}"])).concat().into_bytes();
        let dice = Mutex::new(Dice(7));
        let provider = Provider::start(move |asked| match asked.wants_stream() {
            true => Reply::bytes(damaged(&whole, &mut dice.lock().unwrap())),
            false => Reply::json(200, &json!({"neither": "this"})),
        })
        .await;
        let more = "breaker = { failures = 0 }\ntimeouts = { totalMs = 20000 }";
        let models = provider.models(format, more).await;
        let mut request = Request::new(Role::Execute, "goal", "", "Pay");
        let schema = json!({"type": "object"});
        request.tools = vec![ToolSpec { name: "pay".to_owned(), description: String::new(), schema }];
        let mut answered = 0;
        for round in 0..ROUNDS {
            let model = models.for_role(Role::Execute, None).unwrap();
            let asked = AssertUnwindSafe(model.generate(request.clone())).catch_unwind().await;
            let answer = asked.unwrap_or_else(|_| panic!("{format:?}: a panic in round {round}"));
            for request in answer.iter().flat_map(|answer| &answer.requests) {
                assert!(request.arguments.is_object(), "{format:?} round {round}: {request:?}");
            }
            answered += usize::from(answer.is_ok());
        }
        assert!(answered > 0 && answered < ROUNDS, "{format:?}: {answered} of {ROUNDS} were answers");
    }
}
