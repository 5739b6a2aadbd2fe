//! Arithmetic, so that no model has to guess at it.

use async_trait::async_trait;
use exmex::{BinOp, Express, FlatEx, FloatOpsFactory, MakeOperators, Operator};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Early, Operation, blocking};
use crate::task::Effect;
use crate::tools::{CallContext, ToolError};

/// The parser recurses, so what it may be asked is bounded, far above what anybody writes.
const MAX_CHARACTERS: usize = 1000;
const MAX_NESTING: usize = 50;

/// Whole numbers up to here are exact in the number type that evaluates them: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// `calculation_evaluate`.
pub(super) struct Evaluate;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Arguments {
    /// The expression: numbers, + - * / ^ %, parentheses, functions such as sqrt, sin, ln,
    /// log10, abs, floor, min(a, b), max(a, b), and the constants PI, TAU and E.
    expression: String,
}

#[async_trait]
impl Operation for Evaluate {
    type Arguments = Arguments;
    const TOOLKIT: &'static str = "calculation";
    const NAME: &'static str = "calculation_evaluate";
    const DESCRIPTION: &'static str = "Evaluates an arithmetic expression and returns its `value`.";
    const EFFECT: Effect = Effect::ReadOnly;

    async fn run(&self, arguments: Arguments, _: CallContext) -> Result<Value, Early> {
        let expression = arguments.expression;
        let rewritten = check(&expression)?;
        blocking(move || {
            let value =
                evaluate(&rewritten).map_err(|reason| Early::Said(format!("'{expression}': {reason}")))?;
            Ok(json!({"expression": expression, "value": number(value)}))
        })
        .await
    }
}

/// The expression as the parser reads it the way people do, or why it is not evaluated.
fn check(expression: &str) -> Result<String, ToolError> {
    if expression.trim().is_empty() {
        return refuse("the expression is empty");
    }
    if expression.len() > MAX_CHARACTERS {
        return refuse(format!("the expression is longer than {MAX_CHARACTERS} characters"));
    }
    if let Some(strange) = expression.chars().find(|c| !is_arithmetic(*c)) {
        return refuse(format!("'{}' has no place in arithmetic", strange.escape_debug()));
    }
    unambiguous(expression)
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, ToolError> {
    Err(ToolError::Arguments(reason.into()))
}

fn is_arithmetic(character: char) -> bool {
    character.is_ascii_alphanumeric() || " \t\n\r.,+-*/^%()_".contains(character)
}

/// What stands before a character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Operator,
    Operand,
}

/// What was seen of the current factor within one pair of parentheses.
#[derive(Clone, Copy, Default)]
struct Factor {
    power: bool,
    negated: bool,
}

/// The parser binds a sign tighter than a power and reads chained powers from the left; people
/// read `-2^2` as -4 and `2^3^2` as 512. A leading sign is rewritten, the rest is refused: a
/// wrong number is worse than none.
fn unambiguous(expression: &str) -> Result<String, ToolError> {
    let mut rewritten = String::with_capacity(expression.len());
    let mut factors = vec![Factor::default()];
    let mut before = Before::Nothing;
    for character in expression.chars() {
        let depth = factors.len() - 1;
        let factor = &mut factors[depth];
        match character {
            ' ' | '\t' | '\n' | '\r' => {}
            '(' => {
                factors.push(Factor::default());
                before = Before::Nothing;
            }
            ')' if depth == 0 => return refuse("a parenthesis is closed that was not opened"),
            ')' => {
                factors.pop();
                before = Before::Operand;
            }
            '^' if factor.power || factor.negated => {
                return refuse("put parentheses around powers, as in -(2^2) or 2^(3^2)");
            }
            '^' => (factor.power, before) = (true, Before::Operator),
            '+' | '-' if before == Before::Operator => factor.negated |= character == '-',
            '+' | '-' if before == Before::Nothing => {
                rewritten.push('0');
                before = Before::Operator;
            }
            ',' => (*factor, before) = (Factor::default(), Before::Nothing),
            '+' | '-' | '*' | '/' | '%' => (*factor, before) = (Factor::default(), Before::Operator),
            _ => before = Before::Operand,
        }
        if factors.len() > MAX_NESTING {
            return refuse(format!("the expression is nested deeper than {MAX_NESTING}"));
        }
        rewritten.push(character);
    }
    Ok(rewritten)
}

/// The parser's operators, with `*`, `/` and `%` of one rank, from left to right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Arithmetic;

impl MakeOperators<f64> for Arithmetic {
    fn make<'a>() -> Vec<Operator<'a, f64>> {
        let rank = |apply| BinOp { apply, prio: 2, is_commutative: false };
        let mut operators = FloatOpsFactory::<f64>::make();
        operators.retain(|operator| !["*", "/", "%"].contains(&operator.repr()));
        operators.push(Operator::make_bin("*", rank(|a, b| a * b)));
        operators.push(Operator::make_bin("/", rank(|a, b| a / b)));
        operators.push(Operator::make_bin("%", rank(|a, b| a % b)));
        operators
    }
}

fn evaluate(expression: &str) -> Result<f64, String> {
    let fault = |error| format!("it cannot be evaluated: {error}");
    let parsed = FlatEx::<f64, Arithmetic>::parse(expression).map_err(fault)?;
    if let [name, ..] = parsed.var_names() {
        return Err(format!("'{name}' is neither a function nor a constant"));
    }
    let value = parsed.eval(&[]).map_err(fault)?;
    if value.is_finite() { Ok(value) } else { Err("it has no finite value".to_owned()) }
}

/// Whole values are given as whole numbers: 42, not 42.0.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < EXACT {
        #[allow(clippy::cast_possible_truncation, reason = "whole and within the exact range")]
        return json!(value as i64);
    }
    json!(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{built_in, tests::context};
    use super::*;

    #[tokio::test]
    async fn arithmetic_is_evaluated() {
        for (expression, expected) in [
            ("2 + 3 * 4", json!(14)),
            ("(2 + 3) * 4", json!(20)),
            ("-2^2", json!(-4)),
            ("max(-1, -2^2) + (-1)^2", json!(0)),
            ("2^-1", json!(0.5)),
            ("--3", json!(3)),
            ("8 / 4 / 2 * 3 % 2", json!(1)),
            ("7 * 5 % 3", json!(2)),
            ("10 - 2 - 3 + 1", json!(6)),
            ("2 * PI - TAU", json!(0)),
            ("1500 + .5", json!(1500.5)),
            ("7 / 2", json!(3.5)),
            ("sqrt(16)", json!(4)),
            ("max(2, 9) - min(2, 9)", json!(7)),
            ("17 % 5", json!(2)),
        ] {
            let output = built_in(Evaluate).call(json!({"expression": expression}), context()).await.unwrap();
            assert_eq!(output.content["value"], expected, "{expression}");
        }
    }

    #[tokio::test]
    async fn what_has_no_value_is_said_and_not_guessed() {
        for expression in ["1 / 0", "sqrt(-1)", "x + 1", "2 +", "()", "10^400"] {
            let output = built_in(Evaluate).call(json!({"expression": expression}), context()).await.unwrap();
            assert!(output.is_error, "{expression}: {output:?}");
        }
    }

    #[tokio::test]
    async fn what_is_too_long_or_too_deep_is_refused() {
        for expression in [
            String::new(),
            "1+".repeat(600),
            "(".repeat(60),
            "{x}".to_owned(),
            "2^3^2".to_owned(),
            "2*-3^2".to_owned(),
            ")(".to_owned(),
        ] {
            let error =
                built_in(Evaluate).call(json!({"expression": expression}), context()).await.unwrap_err();
            assert_eq!(error.code(), "tool_arguments");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(expression in "[-+*/^%(), .0-9a-zE]{0,60}") {
            if let Ok(rewritten) = check(&expression) {
                let _ = evaluate(&rewritten);
            }
        }

        #[test]
        fn no_formula_makes_it_panic(words in prop::collection::vec(
            prop::sample::select(vec!["1", "2.5", "+", "-", "*", "/", "^", "%", "(", ")", ",", "sin", "max", "PI", "E", "sqrt", " ", "x"]), 0..40)
        ) {
            let expression = words.concat();
            if let Ok(rewritten) = check(&expression) {
                let _ = evaluate(&rewritten);
            }
        }
    }
}
