//! Turns what an MCP tool returned into a result.

use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::Value;

use crate::tools::text::{json_bytes, value_without_nul};
use crate::tools::{ToolError, ToolOutput};

/// Structured content as it is; a single text as a string; anything else as the list of blocks.
/// An error is told in words, so its text comes first.
pub(super) fn output(result: CallToolResult, limit: u64) -> Result<ToolOutput, ToolError> {
    let is_error = result.is_error.unwrap_or(false);
    let content = match (result.structured_content, is_error && !result.content.is_empty()) {
        (Some(structured), false) => structured,
        _ => blocks(result.content)?,
    };
    if json_bytes(&content) > limit {
        return Err(ToolError::OutputTooLarge { limit });
    }
    Ok(ToolOutput { content: value_without_nul(content), is_error })
}

fn blocks(mut blocks: Vec<ContentBlock>) -> Result<Value, ToolError> {
    if let [ContentBlock::Text(text)] = blocks.as_mut_slice() {
        return Ok(Value::String(std::mem::take(&mut text.text)));
    }
    serde_json::to_value(blocks).map_err(|error| ToolError::Interrupted {
        detail: "the result cannot be read".to_owned(),
        source: Some(Box::new(error)),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn converted(result: Value) -> ToolOutput {
        output(serde_json::from_value(result).unwrap(), 1000).unwrap()
    }

    #[test]
    fn structured_content_is_preferred() {
        let result = json!({"content": [{"type": "text", "text": "{}"}], "structuredContent": {"n": 1}});
        assert_eq!(converted(result), ToolOutput::ok(json!({"n": 1})));
    }

    #[test]
    fn one_text_is_a_string_and_more_are_a_list() {
        assert_eq!(
            converted(json!({"content": [{"type": "text", "text": "a\0b"}]})),
            ToolOutput::ok("a\u{fffd}b")
        );
        let two = json!([{"type": "text", "text": "a"}, {"type": "image", "data": "AA==", "mimeType": "image/png"}]);
        assert_eq!(converted(json!({"content": two})).content, two);
        assert_eq!(converted(json!({"content": []})).content, json!([]));
    }

    #[test]
    fn an_error_is_a_result_that_tells_what_happened() {
        let result =
            json!({"content": [{"type": "text", "text": "no"}], "structuredContent": {}, "isError": true});
        assert_eq!(converted(result), ToolOutput::error("no"));
    }

    #[test]
    fn a_result_over_the_limit_is_an_error() {
        let result = json!({"content": [{"type": "text", "text": "x".repeat(1000)}]});
        let error = output(serde_json::from_value(result).unwrap(), 1000).unwrap_err();
        assert_eq!(error.code(), "tool_output_too_large");
    }
}
