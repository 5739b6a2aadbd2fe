//! The ids of tool calls as they are sent. Servers give ids of many forms, some give the same one in each turn, and
//! some none; Anthropic takes few forms, and everybody wants to know which call a result is of. A conversation
//! that another model goes on with has to suit that one.

use std::collections::{HashSet, VecDeque};

use genai::adapter::AdapterKind;

/// What Anthropic takes at most.
const LONGEST: usize = 64;

/// The ids of one conversation, in its order.
#[derive(Debug, Default)]
pub(super) struct CallIds {
    sent: HashSet<String>,
    /// Calls whose results have not come: as they are known, and as they are sent.
    open: VecDeque<(String, String)>,
    calls: usize,
}

impl CallIds {
    /// The id of the next call, which is known as `id`.
    pub(super) fn of_call(&mut self, id: &str, adapter: AdapterKind) -> String {
        self.calls += 1;
        let mut sent = id.to_owned();
        let mut number = self.calls;
        while !suits(&sent, adapter) || self.sent.contains(&sent) {
            sent = format!("call_{number}");
            number += 1;
        }
        self.sent.insert(sent.clone());
        self.open.push_back((id.to_owned(), sent.clone()));
        sent
    }

    /// The id of the call that a result is of: the results of one turn come in the order of its calls.
    pub(super) fn of_result(&mut self, id: &str) -> String {
        let at = self.open.iter().position(|(known, _)| known == id);
        at.and_then(|at| self.open.remove(at)).map_or_else(|| id.to_owned(), |(_, sent)| sent)
    }
}

/// Whether a server takes an id as it is.
fn suits(id: &str, adapter: AdapterKind) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    match adapter {
        AdapterKind::Anthropic => !id.is_empty() && id.len() <= LONGEST && id.bytes().all(is_plain),
        _ => !id.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(ids: &[&str], adapter: AdapterKind) -> (Vec<String>, Vec<String>) {
        let mut all = CallIds::default();
        let calls = ids.iter().map(|id| all.of_call(id, adapter)).collect();
        (calls, ids.iter().map(|id| all.of_result(id)).collect())
    }

    #[test]
    fn each_call_has_an_id_of_its_own_and_its_result_has_the_same() {
        for adapter in [AdapterKind::Anthropic, AdapterKind::OpenAI] {
            let (calls, results) = sent(&["a", "a", "call_2", "call_2", "b"], adapter);
            assert_eq!(calls[0], "a");
            assert_eq!(calls[4], "b");
            assert_eq!(calls.iter().collect::<HashSet<_>>().len(), 5, "{calls:?}");
            assert_eq!(calls, results);
        }
    }

    #[test]
    fn what_anthropic_would_refuse_is_replaced_for_it_alone() {
        let long = "x".repeat(65);
        let ids = ["functions.read:0", "call#read#0", long.as_str(), "toolu_01-A"];
        let (calls, results) = sent(&ids, AdapterKind::Anthropic);
        assert_eq!(calls, ["call_1", "call_2", "call_3", "toolu_01-A"]);
        assert_eq!(calls, results);
        assert_eq!(sent(&ids, AdapterKind::OpenAI).0, ids);
    }
}
