//! Does a message need a task? Rules decide the clear cases in microseconds; only for the
//! doubtful ones a model is asked.

use serde::{Deserialize, Serialize};

use super::patience::ask;
use super::signs::{SIGNS, Sign, extent, is_foreign};
use super::{Orchestrator, cut, prompts};
use crate::models::{Request, Role};
use crate::task::{Event, ModelName, Usage};

/// Messages up to this many characters are never tasks: greetings and follow-ups. Of Chinese, Japanese and Korean ones,
/// which say more, it takes fewer.
const SHORT: usize = 20;

/// Of its window, in percent, what a model sees of a message: its beginning says what is wanted.
const SHOWN_PERCENT: u64 = 25;

/// Said of a message whose words the rules do not know, and which a model is asked about for that reason alone.
const FOREIGN: &str = "a language that the rules do not know";

/// The decision about one message, with what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Detection {
    /// Whether the message becomes a task.
    pub orchestrate: bool,
    /// 0 (simple) to 1 (complex).
    pub score: f64,
    /// From which score on a message becomes a task.
    pub threshold: f64,
    /// What was seen in it.
    pub features: Vec<String>,
    /// `rules`, `caller`, or the name of the model that decided.
    pub by: String,
    /// What deciding consumed.
    pub usage: Usage,
}

impl Detection {
    /// The decision of a caller who asks for a task outright.
    pub fn by_caller() -> Self {
        Self {
            orchestrate: true,
            score: 1.0,
            threshold: 0.0,
            features: Vec::new(),
            by: "caller".into(),
            usage: Usage::default(),
        }
    }

    pub(super) fn event(&self) -> Event {
        Event::Detected {
            by: self.by.clone(),
            score: self.score,
            threshold: self.threshold,
            features: self.features.clone(),
            usage: self.usage,
        }
    }
}

/// What the rules say, 0..1, and why.
fn score(message: &str) -> (f64, Vec<String>) {
    if is_short(message) {
        return (0.0, vec![format!("at most {SHORT} characters")]);
    }
    let seen: Vec<&Sign> = SIGNS.iter().filter(|sign| sign.is_in(message)).collect();
    let mut score: f64 = seen.iter().map(|sign| sign.weight).sum();
    let mut features: Vec<String> = seen.iter().map(|sign| sign.name.to_owned()).collect();
    if extent(message) > 600 {
        score += 0.15;
        features.push("a long message".to_owned());
    }
    if is_foreign(message) {
        features.push(FOREIGN.to_owned());
    }
    // The sum of nothing is less than nothing.
    (score.clamp(0.0, 1.0) + 0.0, features)
}

fn is_short(message: &str) -> bool {
    extent(message) <= SHORT
}

impl Orchestrator {
    /// Decides whether a message needs a task. `tools_named` is how many tools or servers the
    /// user named with it. Never fails: without an answer from a model the rules stand.
    pub async fn should_orchestrate(
        &self,
        message: &str,
        tools_named: usize,
        model: Option<&ModelName>,
    ) -> Detection {
        let detection = self.detect_by_rules(message, tools_named);
        let (score, threshold) = (detection.score, detection.threshold);
        let is_clear = (score - threshold).abs() > self.config.doubt && !is_foreign(message);
        if is_short(message) || is_clear || self.models.is_offline() {
            return detection;
        }
        self.ask_about(message, model, detection).await
    }

    /// The same by the rules alone: at once, and for nothing.
    pub fn detect_by_rules(&self, message: &str, tools_named: usize) -> Detection {
        let (mut score, mut features) = score(message);
        if tools_named > 1 && score > 0.0 {
            score = (score + 0.2).min(1.0);
            features.push("several tools were named".to_owned());
        }
        let threshold = self.config.threshold;
        Detection {
            orchestrate: score >= threshold,
            score,
            threshold,
            features,
            by: "rules".to_owned(),
            usage: Usage::default(),
        }
    }

    async fn ask_about(&self, message: &str, model: Option<&ModelName>, rules: Detection) -> Detection {
        #[derive(Deserialize)]
        struct Verdict {
            complex: bool,
            #[serde(default)]
            reason: String,
        }
        let Ok(model) = self.models.for_role(Role::Detect, model) else { return rules };
        let most = self.chat_window(model.as_ref()).bytes(SHOWN_PERCENT);
        let mut request = Request::new(Role::Detect, message, prompts::DETECT, cut(message, most));
        request.max_output_tokens = Some(200);
        request.schema = Some(serde_json::json!({
            "type": "object", "additionalProperties": false, "required": ["complex", "reason"],
            "properties": {"complex": {"type": "boolean"}, "reason": {"type": "string"}},
        }));
        let answer = match ask(model.as_ref(), &request, Some(self.short_patience())).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(%error, "no model decides about a doubtful message, the rules stand");
                return Detection { usage: error.usage().unwrap_or_default(), ..rules };
            }
        };
        let rules = Detection { usage: answer.usage, ..rules };
        let Ok(verdict) = super::plan_text::read_json::<Verdict>(&answer.text) else { return rules };
        let mut features = rules.features;
        features.push(format!("the model's reason: {}", verdict.reason));
        Detection { orchestrate: verdict.complex, features, by: model.name().to_string(), ..rules }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_goals_become_tasks() {
        for goal in [
            "Analyze all issues in my GitHub repo and create a summary report",
            "Migrate all TODO comments to GitHub issues",
            "Find every TODO comment in this repository and write a report",
            "First download the dataset, then clean each row, and finally write a csv",
            "Review the whole codebase, collect every unsafe block and produce a document",
            "1. fetch the page\n2. extract the links\n3. check each of them",
        ] {
            assert!(score(goal).0 >= 0.5, "{goal}: {:?}", score(goal));
        }
    }

    #[test]
    fn clear_questions_stay_answers() {
        for message in [
            "hi",
            "What is the capital of France?",
            "Can you explain what a monad is?",
            "Explain the difference between TCP and UDP to me",
            "Thanks, that helped me a lot today!",
            "Write a poem about the sea and the stars",
            "How do I list all files in a directory?",
        ] {
            assert!(score(message).0 < 0.35, "{message}: {:?}", score(message));
        }
    }

    #[test]
    fn twenty_characters_are_never_a_task() {
        assert_eq!(score("migrate all, then go").0, 0.0);
        assert_eq!(score("分析所有问题").1, ["at most 20 characters"], "it says no more than that");
    }

    #[test]
    fn goals_in_other_languages_become_tasks() {
        for goal in [
            "Vergleiche alle Module und schreibe einen Bericht",
            "Analysiere sämtliche Dateien im Projekt und erstelle eine Zusammenfassung",
            "Analyse tous les fichiers du dépôt et rédige un rapport",
            "Analiza todos los archivos del repositorio y crea un informe",
            "Analise todos os arquivos do repositório e crie um relatório",
            "Analizza tutti i file del progetto e scrivi una relazione",
            "分析我仓库中的所有问题并创建总结报告",
            "分析倉庫中的所有問題並建立總結報告",
            "リポジトリのすべての課題を分析して、要約レポートを作成してください",
            "저장소의 모든 이슈를 분석하고 요약 보고서를 작성해 줘",
        ] {
            assert!(score(goal).0 >= 0.5, "{goal}: {:?}", score(goal));
        }
    }

    #[test]
    fn questions_in_other_languages_stay_answers() {
        for message in [
            "Was ist die Hauptstadt von Frankreich?",
            "Wie liste ich alle Dateien in einem Ordner auf?",
            "Erkläre mir bitte den Unterschied zwischen TCP und UDP",
            "Quelle est la capitale de la France ?",
            "Explique-moi la différence entre TCP et UDP",
            "¿Cuál es la capital de Francia?",
            "Qual é a capital da França?",
            "Come si elencano tutti i file in una cartella?",
            "如何列出一个目录中的所有文件？",
            "ディレクトリの全てのファイルを一覧表示するにはどうすればいいですか？",
            "디렉터리의 모든 파일을 나열하려면 어떻게 해야 하나요?",
        ] {
            assert!(score(message).0 < 0.35, "{message}: {:?}", score(message));
        }
    }

    #[test]
    fn english_means_what_it_meant_before_other_languages_were_known() {
        for (message, expected) in [
            ("Analyze all issues in my GitHub repo and create a summary report", 1.0),
            ("Migrate all TODO comments to GitHub issues", 0.8),
            ("Please fix the TODOs that are left in here", 0.0),
            ("My resume has a photo, and the cafe is nice", 0.0),
            ("How do I list all files in a directory?", 0.25),
        ] {
            let (score, features) = score(message);
            assert!((score - expected).abs() < 1e-9, "{message}: {score} {features:?}");
        }
        assert_eq!(score("Somebody said something about it").0.to_string(), "0", "and not -0");
    }

    #[test]
    fn what_the_rules_cannot_read_is_no_clear_case() {
        for message in [
            "Проанализируй все файлы в репозитории и напиши отчёт",
            "Przeanalizuj wszystkie pliki w projekcie i napisz szczegółowe podsumowanie błędów",
            "حلل جميع الملفات في المستودع واكتب تقريرا",
        ] {
            assert!(is_foreign(message) && score(message).1.contains(&FOREIGN.to_owned()), "{message}");
        }
        for message in [
            "Dvořák wrote nine symphonies, and this is the last one",
            "Löse α + β = γ nach α auf, und zwar für jedes reelle β",
        ] {
            assert!(!is_foreign(message), "{message}");
        }
    }
}
