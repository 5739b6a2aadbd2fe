//! What rules see in a message: signs that it is complex or simple, in the languages that they know.
//!
//! English decides what the signs are and what they weigh; the other languages have the same signs in their own words,
//! without words that are English ones as well. A message in a language that none of this knows is no clear case.

use std::sync::LazyLock;

use regex::Regex;

/// A sign of complexity (positive) or simplicity (negative) in a message.
pub(super) struct Sign {
    pub(super) name: &'static str,
    pub(super) weight: f64,
    pattern: Regex,
}

impl Sign {
    pub(super) fn is_in(&self, message: &str) -> bool {
        self.pattern.is_match(message)
    }
}

/// A sign with its words: English, German, French, Spanish, Portuguese, Italian, Chinese, Japanese, Korean.
type Words = (&'static str, f64, &'static [&'static str]);

/// The weights were set on the examples of the tests of detection: one strong sign alone is doubtful, two make a task.
static WORDS: [Words; 11] = [
    (
        "works on all of something",
        0.3,
        &[
            r"\b(all|every|each|entire|whole|across)\b",
            r"\b(alle[rnms]?|jede[rnms]?|sämtliche\w*|gesamte\w*|ganze[rnms]?)\b",
            r"\b(tous|toutes|chaque|toute la|tout le|l['’]ensemble)\b",
            r"\b(todos los|todas las|todo el|toda la|cada|enter[oa]s?)\b",
            r"\b(todos os|todas as|todo o|toda a|inteir[oa]s?)\b",
            r"\b(tutt[iaeo]|ogni|ciascun[oa]?|inter[oaie])\b",
            "所有|全部|每个|每個|每一|整个|整個|各个|各個",
            "すべて|全て|全部|全体|各",
            "모든|모두|각각|전체|전부",
        ],
    ),
    (
        "a large body of data",
        0.2,
        &[
            r"\b(repo|repository|repositories|codebase|files?|folder|directory|dataset|database|issues|tickets|documents|records|rows|logs|commits|pull requests|workspace|project)\b",
            r"\b(codebasis|dateien?|ordner\w*|verzeichnis\w*|daten(?:satz|sätze|bank)\w*|dokumenten?|einträge\w*|zeilen|protokolle?|projekt\w*)\b",
            r"\b(dépôts?|fichiers?|répertoires?|base de (?:code|données)|jeux? de données|enregistrements?|lignes|projets?)\b",
            r"\b(repositorios?|archivos?|ficheros?|carpetas?|directorios?|base de (?:código|datos)|conjuntos? de datos|documentos?|registros?|filas|proyectos?)\b",
            r"\b(repositórios?|arquivos?|ficheiros?|diretórios?|base de dados|linhas|projetos?)\b",
            r"\b(cartell[ae]|codice sorgente|banc(?:a|he) dati|documenti|righe|progett[oi])\b",
            "仓库|倉庫|代码库|程式庫|文件|档案|檔案|目录|目錄|数据|數據|資料|文档|文檔|问题|問題|记录|記錄|日志|日誌|提交|项目|專案",
            "リポジトリ|コードベース|ファイル|フォルダ|ディレクトリ|データ|ドキュメント|文書|課題|レコード|ログ|コミット|プロジェクト",
            "저장소|리포지토리|코드베이스|파일|폴더|디렉터리|디렉토리|데이터|문서|이슈|레코드|로그|커밋|프로젝트",
        ],
    ),
    (
        "a far-reaching action",
        0.3,
        &[
            r"\b(migrate|refactor|analy[sz]e|audit|investigate|review|crawl|scan|process|convert|translate|compare|research|implement|build|deploy|generate|compile|collect|gather|summari[sz]e|extract|scrape|benchmark)\b",
            r"\b(migrier\w*|refaktorier\w*|analysier\w*|prüfen?|überprüf\w*|untersuch\w*|durchsuch\w*|verarbeite\w*|konvertier\w*|übersetz\w*|vergleiche?n?|recherchier\w*|implementier\w*|erzeuge\w*|generier\w*|samm(?:el|le)\w*|fass\w*\b.*\bzusammen|zusammenfassen|extrahier\w*)\b",
            r"\b(migre[rz]?|refactorise[rz]?|analyse[rz]|audite[rz]?|examine[rz]|parcour(?:s|ir|ez)|trait(?:e|er|ez)|converti[rs]?|convertissez|tradui(?:s|re|sez)|compare[rz]|recherche[rz]|implémente[rz]?|génère\w*|générer|collecte[rz]?|rassemble[rz]?|résume[rz]?|extrai(?:s|re)|extrayez)\b",
            r"\b(migrar?|refactoriza\w*|analiza\w*|auditar?|investiga[rd]?|revisar?|rastrear?|procesar?|convierte|convertir|traduce|traducir|comparar?|implementar?|generar?|recopila\w*|resumir|extrae|extraer)\b",
            r"\b(migre|refator\w*|analis(?:e|ar)|investig(?:ue|ar)|processar|converta|traduz(?:a|ir)?|pesquis(?:e|ar)|implemente|gerar?|gere|colet(?:e|ar)|resum(?:a|ir)|extra(?:ia|ir))\b",
            r"\b(migrare|analizz\w*|esamin\w*|controllare?|elaborare?|convert(?:i|ire)|traduci|tradurre|confronta\w*|ricerca\w*|implementare|genera(?:re)?|raccogli\w*|riassum\w*|estra(?:i|rre)|verificare?)\b",
            "迁移|遷移|重构|重構|分析|审计|審計|审查|審查|调查|調查|检查|檢查|爬取|扫描|掃描|处理|處理|转换|轉換|翻译|翻譯|比较|比較|对比|對比|研究|实现|實作|构建|部署|生成|收集|整理|汇总|彙整|总结|總結|提取",
            "移行|リファクタリング|分析|監査|調査|調べ|レビュー|処理|変換|翻訳|比較|実装|構築|デプロイ|生成|収集|集め|要約|抽出",
            "마이그레이션|리팩터링|리팩토링|분석|조사|검토|처리|변환|번역|비교|연구|구현|구축|배포|생성|수집|요약|추출",
        ],
    ),
    (
        "steps in sequence",
        0.3,
        &[
            r"\b(then|after that|afterwards|next|finally|step by step|first)\b",
            r"\b(dann|danach|anschließend|zuerst|zunächst|schließlich|schritt für schritt)\b",
            r"\b(ensuite|puis|après cela|d['’]abord|enfin|étape par étape)\b",
            r"\b(luego|después|primero|finalmente|por último|paso a paso)\b",
            r"\b(depois|em seguida|primeiro|por fim|passo a passo)\b",
            r"\b(poi|dopo di che|innanzitutto|per prima cosa|infine|passo (?:dopo|per) passo)\b",
            "首先|然后|然後|接着|接著|随后|隨後|最后|最後|逐步|一步一步",
            "まず|次に|その後|それから|最後に|順番に",
            "먼저|그런 다음|그 ?다음|마지막으로|차례로|단계별로",
        ],
    ),
    (
        "something to deliver",
        0.25,
        &[
            r"\b(report|summary report|spreadsheet|csv|presentation|document|markdown|dashboard|plan)\b",
            r"\b(bericht\w*|zusammenfassung\w*|tabelle\w*|präsentation\w*|übersicht\w*)\b",
            r"\b((?:un|le|ce|du) rapport|rapports|compte[- ]rendu|synthèse|tableau|présentation)\b",
            r"\b(informe|reporte|resumen|hoja de cálculo|presentación)\b",
            r"\b(relatório|resumo|planilha|apresentação)\b",
            r"\b(relazione|rapporto|riepilogo|resoconto|tabella|presentazione)\b",
            "报告|報告|报表|報表|表格|演示文稿|简报|簡報",
            "レポート|報告|スプレッドシート|プレゼン|一覧表|ダッシュボード",
            "보고서|리포트|스프레드시트|프레젠테이션|대시보드",
        ],
    ),
    (
        "several actions",
        0.2,
        &[
            r"\b(and|,)\s+(create|write|send|save|update|open|post|upload|publish|fix|run|make|produce|report|email|store)\b",
            r"\bund\b[^.!?\n]*\b(erstell\w*|schreib\w*|send\w*|schick\w*|speicher\w*|aktualisier\w*|öffne\w*|veröffentlich\w*|beheb\w*|mach\w*|erzeug\w*)\b",
            r"\bet\s+(?:\w+\s+)?(crée\w*|créer|écri\w*|envo\w*|enregistre\w*|mets? à jour|mettez à jour|publie\w*|corrige\w*|rédige\w*|produi\w*)\b",
            r"\by\s+(crea\w*|escrib\w*|envía\w*|enviar|guarda\w*|actualiza\w*|publica\w*|corrige\w*|haz|redacta\w*|elabora\w*)\b",
            r"\be\s+(crie|criar|escrev\w*|envi(?:e|ar)|salv(?:e|ar)|guard(?:e|ar)|atualiz\w*|publi(?:que|car)|corrij\w*|faça|elabor\w*|gere|gerar)\b",
            r"\be(?:d)?\s+(crea\w*|scriv\w*|invia\w*|salva\w*|aggiorna\w*|pubblica\w*|corregg\w*|prepara\w*|redigi\w*)\b",
            r"[并並再和且，、]\s*(创建|建立|写|寫|撰写|撰寫|编写|發送|发送|保存|更新|打开|发布|發布|修复|修復|运行|制作|製作|生成|產生)",
            r"(して|て、|し、|後に).{0,30}(作成|書い|書き|送信|送っ|保存|更新|公開|修正|実行|作っ|まとめ)",
            r"(하고|해서|하여|한 뒤|한 후)\s.{0,30}(작성|만들|보내|저장|업데이트|게시|수정|실행|생성)",
        ],
    ),
    (
        "a search over something",
        0.2,
        &[
            r"\b(find|list|search|count|look up|check)\b",
            r"\b(finden?|suchen?|liste\b.*\bauf|auflisten|zähl\w*)\b",
            r"\b(trouve[rz]?|cherche[rz]?|liste[rz]|compte[rz]|vérifie[rz]?)\b",
            r"\b(busca\w*|encuentra\w*|encontrar|listar?|cuenta|contar|comprueba\w*)\b",
            r"\b(procur(?:e|ar)|encontre|busque|liste|conte|verifi(?:que|car))\b",
            r"\b(trova\w*|cerca(?:re)?|elenca\w*|conta(?:re)?)\b",
            "查找|搜索|搜尋|寻找|尋找|找出|列出|统计|統計|查询|查詢",
            "検索|探し|見つけ|列挙|数え|リストアップ",
            "찾아|찾고|검색|나열|목록|세어",
        ],
    ),
    (
        "takes time",
        0.35,
        &[
            r"\b(in the background|long[- ]running|overnight|take your time|monitor|keep (checking|watching)|until)\b",
            r"\b(im hintergrund|über nacht|lass dir zeit|überwach\w*|beobacht\w*)\b",
            r"\b(en arrière-plan|pendant la nuit|prends ton temps|prenez votre temps|surveill\w*|jusqu['’]à ce que)\b",
            r"\b(en segundo plano|durante la noche|tómate tu tiempo|supervisa\w*|monitorea\w*|vigila\w*|hasta que)\b",
            r"\b(em segundo plano|durante a noite|sem pressa|monitore|monitorar|acompanh(?:e|ar)|até que)\b",
            r"\b(in background|durante la notte|con calma|monitora\w*|sorveglia\w*|finché)\b",
            "后台|後台|通宵|慢慢来|慢慢來|监控|監控|持续|持續|直到",
            "バックグラウンド|一晩|時間をかけて|監視|し続け",
            "백그라운드|밤새|천천히|모니터링|감시|때까지",
        ],
    ),
    (
        "a numbered list",
        0.3,
        &[
            r"(?m:^\s*(\d+[.)]|[-*])\s+\S.*\n\s*(\d+[.)]|[-*])\s+\S)",
            r"(?m:^\s*(\d+[、．）]|[・•])\s*\S.*\n\s*(\d+[、．）]|[・•])\s*\S)",
        ],
    ),
    (
        "a plain question",
        -0.45,
        &[
            r"^\s*(what|who|when|where|why|how|which|is|are|was|were|does|do|did|can|could|would|should|will)\b[^\n]*\?\s*$",
            r"^\s*(was|wer|wen|wem|wann|wo|woher|wohin|warum|wieso|weshalb|wie|welche[rsmn]?|ist|sind|hat|habe|haben|kann|kannst|können|könntest|könnten|soll|sollte|wird|gibt|darf|muss)\b[^\n]*\?\s*$",
            r"^\s*(que|quoi|qui|quel(?:le)?s?|quand|où|pourquoi|comment|combien|est-ce|peux-tu|pouvez-vous|pourrais-tu|c['’]est|qu['’])[^\n]*\?\s*$",
            r"^\s*(¿|(?:qué|quién|cuándo|dónde|por qué|cómo|cuál|cuáles|cuánt[oa]s?|puedes|podrías)\b)[^\n]*\?\s*$",
            r"^\s*(o que|quem|quando|onde|por que|como|qual|quais|quant[oa]s?|você pode|pode|é)\b[^\n]*\?\s*$",
            r"^\s*(che|cosa|cos['’]è|chi|quando|dove|perché|come|qual[ei]?|quant[oiae]|puoi|potresti|può|è)\b[^\n]*\?\s*$",
            r"^\s*[^\n]{0,40}(什么|什麼|谁|誰|何时|何時|哪里|哪裡|哪个|哪個|为什么|為什麼|怎么|怎麼|如何|是否|多少)[^\n]{0,30}[?？]\s*$",
            r"^\s*[^\n]{0,60}[吗嗎呢][。?？]?\s*$",
            r"^\s*[^\n]*[ぁ-ん](か[。?？]?|[?？])\s*$",
            r"^\s*[^\n]*[가-힣](\s*[?？]|(까|나요|가요|뭐야)[.?？]?)\s*$",
        ],
    ),
    (
        "small talk or one short text",
        -0.35,
        &[
            r"^\s*(hi|hello|hey|thanks|thank you|explain|define|tell me|write (a|me a) (poem|joke|haiku|story|sentence))\b",
            r"^\s*(hallo|guten (morgen|tag|abend)|danke|vielen dank|erklär\w*|definier\w*|erzähl\w*|sag mir|schreib\w* (mir )?(ein|eine|einen) (gedicht|witz|haiku|geschichte|satz))\b",
            r"^\s*(bonjour|salut|bonsoir|merci|explique\w*|définis\w*|raconte\w*|dis-moi|écri\w*(-moi)? une? (poème|blague|haïku|histoire|phrase))\b",
            r"^\s*(hola|buenos días|buenas|gracias|explica\w*|explícame|cuéntame|dime|escrib\w* una? (poema|chiste|haiku|historia|cuento|frase))\b",
            r"^\s*(olá|oi|bom dia|boa (tarde|noite)|obrigad[oa]|expliqu\w*|defina|conte-me|diga-me|escrev\w* uma? (poema|piada|haicai|história|frase))\b",
            r"^\s*(ciao|buongiorno|buonasera|salve|grazie|spiega\w*|definisci|raccontami|dimmi|scriv\w* una? (poesia|barzelletta|haiku|storia|frase))\b",
            r"^\s*(你好|您好|嗨|谢谢|謝謝|多谢|解释|解釋|告诉我|告訴我|写一|寫一)",
            r"^\s*(こんにちは|こんばんは|おはよう|ありがとう|[^\n]{0,30}(説明して|(詩|俳句|ジョーク|物語)を書いて))",
            r"^\s*(안녕|고마워|감사합니다|[^\n]{0,30}(설명해|(시|농담|이야기)[를을]? 써))",
        ],
    ),
];

/// All signs.
pub(super) static SIGNS: LazyLock<Vec<Sign>> = LazyLock::new(|| {
    let signs = WORDS.iter().filter_map(|&(name, weight, words)| {
        let pattern = Regex::new(&format!("(?i){}", words.join("|"))).ok()?;
        Some(Sign { name, weight, pattern })
    });
    signs.collect()
});

/// How long a message is, in characters of an alphabet: Chinese, Japanese and Korean ones say more.
pub(super) fn extent(message: &str) -> usize {
    message.trim().chars().map(|character| Script::of(character).extent()).sum()
}

/// Whether a message is in a language that the rules have no words of: so far as letters tell, for a few of them
/// may be in a name or a formula.
pub(super) fn is_foreign(message: &str) -> bool {
    let words = message.split(|character: char| !character.is_alphabetic());
    let (mut all, mut foreign) = (0_usize, 0_usize);
    for letter in words.filter(|word| word.chars().nth(1).is_some()).flat_map(str::chars) {
        all += 1;
        foreign += usize::from(Script::of(letter) == Script::Other);
    }
    foreign >= 2 && foreign * 25 >= all
}

/// What a character is written in.
#[derive(Clone, Copy, PartialEq)]
enum Script {
    /// Letters of English, German, French, Spanish, Portuguese and Italian, and what is no letter.
    Latin,
    /// Characters that are words.
    Han,
    /// Characters that are syllables.
    Syllables,
    Other,
}

impl Script {
    fn of(character: char) -> Self {
        const ACCENTED: &str = "äöüßàâæçéèêëîïôœùûÿñáíóúãõìò";
        match character {
            '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}' => Self::Han,
            '\u{3040}'..='\u{30ff}' | '\u{ac00}'..='\u{d7af}' | '\u{1100}'..='\u{11ff}' => Self::Syllables,
            character if character.is_ascii() || !character.is_alphabetic() => Self::Latin,
            character if character.to_lowercase().all(|letter| ACCENTED.contains(letter)) => Self::Latin,
            _ => Self::Other,
        }
    }

    fn extent(self) -> usize {
        match self {
            Self::Han => 3,
            Self::Syllables => 2,
            Self::Latin | Self::Other => 1,
        }
    }
}
