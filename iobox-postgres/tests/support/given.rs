//! What a caller of the SQL function gives, at and around every bound.

use iobox_core::message::Draft;
use iobox_testkit::hostile;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::Schema;

/// What a caller gives.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) topic: String,
    pub(crate) key: Option<String>,
    pub(crate) payload: Vec<u8>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) id: Option<String>,
}

impl Given {
    pub(crate) fn new() -> Self {
        Self {
            topic: String::from("orders.created"),
            key: None,
            payload: b"{}".to_vec(),
            headers: Vec::new(),
            id: None,
        }
    }

    pub(crate) fn draft(&self) -> Draft {
        let mut draft = Draft::new(self.topic.clone(), self.payload.clone());
        if let Some(key) = &self.key {
            draft = draft.key(key);
        }
        if let Some(id) = &self.id {
            draft = draft.id(id);
        }
        for (name, value) in &self.headers {
            draft = draft.header(name, value);
        }
        draft
    }

    pub(crate) async fn call(
        &self,
        schema: &Schema,
        connection: &mut PgConnection,
    ) -> sqlx::Result<String> {
        let sql = format!("select \"{}\".enqueue($1, $2, $3, $4::jsonb, $5)", schema.0);
        sqlx::query(AssertSqlSafe(sql))
            .bind(&self.topic)
            .bind(&self.key)
            .bind(&self.payload)
            .bind(serde_json::to_string(&self.headers).unwrap())
            .bind(&self.id)
            .fetch_one(connection)
            .await
            .map(|row| row.get(0))
    }
}

fn header(name: &str, value: &str) -> Given {
    Given {
        headers: vec![(name.to_owned(), value.to_owned())],
        ..Given::new()
    }
}

fn topic(topic: &str) -> Given {
    Given {
        topic: topic.to_owned(),
        ..Given::new()
    }
}

fn key(key: &str) -> Given {
    Given {
        key: Some(key.to_owned()),
        ..Given::new()
    }
}

pub(crate) fn own_id(id: &str) -> Given {
    Given {
        id: Some(id.to_owned()),
        ..Given::new()
    }
}

/// Values at and around every bound, and the hostile ones. Postgres text cannot hold the character 0 at
/// all.
pub(crate) fn corpus() -> Vec<Given> {
    let mut corpus = hostile_ones();
    corpus.push(Given::new());
    let long = |n: usize| "a".repeat(n);
    for text in [
        "a",
        "a.b",
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "a b",
        "a*",
        "*",
        ">",
        "a.>",
        "$SYS",
        "$",
        "a.$b",
        "_INBOX",
        "_INBOX.a",
        "_INBOXa",
        "a._INBOX",
        "ä",
        "a\tb",
        "a\u{7f}",
        "a/b:c",
        "~!@#%^&()",
        "a\u{a0}b",
    ] {
        corpus.push(topic(text));
    }
    corpus.extend([255, 256].map(|n| topic(&long(n))));
    corpus.extend([16, 17].map(|n| topic(&vec!["a"; n].join("."))));
    for text in [
        "k",
        "",
        " ",
        "a\nb",
        "a\u{1}",
        "\u{1f}",
        "a\u{7f}b",
        "\u{80}",
        "\u{9f}x",
        "\u{a0}",
        "ü",
        "日本語",
        "🦀",
        "\\",
        "\\x41",
        "'",
        "\"",
        "%",
        "a\u{200b}b",
        "\u{feff}",
        "\u{10ffff}",
    ] {
        corpus.push(key(text));
        corpus.push(own_id(text));
        corpus.push(header("h", text));
    }
    for text in [long(255), long(256), "ü".repeat(127), "ü".repeat(128)] {
        corpus.push(key(&text));
        corpus.push(own_id(&text));
    }
    for name in [
        "",
        "a",
        "a b",
        "a:b",
        "A-Z_0.9",
        "!#$%&'*+-.^_`|~",
        "ä",
        "Nats-Msg-Id",
        "nats-x",
        "NATS-",
        "nats",
        "iobox-a",
        "IOBOX-A",
        "ioboxa",
        "a\"b",
        "(",
        "a\n",
    ] {
        corpus.push(header(name, "v"));
    }
    corpus.extend([128, 129].map(|n| header(&long(n), "v")));
    corpus.extend([4096, 4097].map(|n| header("h", &long(n))));
    for pairs in [
        vec![("a", "1"), ("b", "2")],
        vec![("a", "1"), ("a", "2")],
        vec![("a", "1"), ("A", "2")],
    ] {
        corpus.push(Given {
            headers: pairs
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            ..Given::new()
        });
    }
    for count in [64, 65] {
        corpus.push(Given {
            headers: (0..count)
                .map(|n| (format!("h{n}"), String::new()))
                .collect(),
            ..Given::new()
        });
    }
    // 4 times 4,096 bytes with their names of one byte, and one byte less each.
    for size in [4_095, 4_096] {
        corpus.push(Given {
            headers: ["a", "b", "c", "d"]
                .map(|name| (name.to_owned(), long(size)))
                .to_vec(),
            ..Given::new()
        });
    }
    for size in [0, 256 * 1024, 256 * 1024 + 1] {
        corpus.push(Given {
            payload: vec![7; size],
            ..Given::new()
        });
    }
    corpus
}

/// Everything in the tables of the testkit, whatever core makes of it.
fn hostile_ones() -> Vec<Given> {
    let can_be_sent = |text: &str| !text.contains('\0');
    let inputs = |entries: Vec<hostile::Entry>| {
        let inputs = entries.into_iter().map(|entry| entry.input);
        inputs.filter(|text| can_be_sent(text)).collect::<Vec<_>>()
    };
    let texts = inputs(hostile::texts());
    let mut corpus: Vec<Given> = texts.iter().map(|text| key(text)).collect();
    corpus.extend(texts.iter().map(|text| own_id(text)));
    corpus.extend(inputs(hostile::topics()).iter().map(|text| topic(text)));
    for entry in hostile::headers() {
        let mut pairs = entry.input.iter();
        if pairs.all(|(name, value)| can_be_sent(name) && can_be_sent(value)) {
            corpus.push(Given {
                headers: entry.input,
                ..Given::new()
            });
        }
    }
    for payload in hostile::taken(hostile::payloads()) {
        corpus.push(Given {
            payload,
            ..Given::new()
        });
    }
    corpus
}
