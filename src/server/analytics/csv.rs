//! Rows as CSV (RFC 4180), for spreadsheets.

use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

/// The rows as a file. Their fields are its columns, also if there are no rows.
pub(super) fn reply<T: Serialize + Default>(rows: &[T]) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8"),
        (CONTENT_DISPOSITION, "attachment; filename=longhaul.csv"),
    ];
    (headers, written(rows)).into_response()
}

fn written<T: Serialize + Default>(rows: &[T]) -> String {
    let head = fields(&T::default());
    let mut text = line(head.keys().map(|name| Value::String(name.clone())));
    for row in rows {
        text.push_str(&line(fields(row).into_iter().map(|(_, value)| value)));
    }
    text
}

fn fields<T: Serialize>(row: &T) -> Map<String, Value> {
    match serde_json::to_value(row) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

fn line(values: impl Iterator<Item = Value>) -> String {
    values.map(|value| cell(&value)).collect::<Vec<_>>().join(",") + "\r\n"
}

fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text,
        other => return other.to_string(),
    };
    // What begins like this is a formula for a spreadsheet, whoever wrote it.
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    match guard.is_empty() && !text.contains([',', '"', '\n', '\r']) {
        true => text.clone(),
        false => format!("\"{guard}{}\"", text.replace('"', "\"\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Serialize)]
    struct Row {
        name: String,
        count: u64,
        mean: Option<f64>,
    }

    #[test]
    fn texts_stay_texts() {
        let row = |name: &str| Row { name: name.into(), count: 2, mean: None };
        let text =
            written(&[row("plain"), row("a \"b\", c"), row("=1+1"), Row { mean: Some(0.5), ..row("x") }]);
        assert_eq!(
            text,
            "name,count,mean\r\nplain,2,\r\n\"a \"\"b\"\", c\",2,\r\n\"'=1+1\",2,\r\nx,2,0.5\r\n"
        );
        assert_eq!(written::<Row>(&[]), "name,count,mean\r\n");
    }
}
