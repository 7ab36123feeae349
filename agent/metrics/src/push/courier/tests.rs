use super::{Courier, Settled, Told, Version};
use crate::push::batch::{Batch, Batches};
use crate::push::identity::Identity;
use crate::push::queue::Record;
use hostwright_core::config::Config;
use hostwright_testing::canned::Canned;
use tokio::sync::mpsc::channel;

/// A batch of four samples.
fn batch() -> Batch {
    let identity = Identity { job: "j".into(), instance: "i".into(), external: Vec::new() };
    let record = Record::new(1, "# TYPE a gauge\na 1\nb 1\nc 1\nd 1\n".to_owned());
    Batches::new(identity).make(vec![record], 0..4)
}

/// How a batch ended, how often it was hindered, and the heads of the requests.
async fn settled(answers: &[&str], protocol: &str) -> (Settled, usize, Vec<String>) {
    let mut server = Canned::start(answers.iter().copied()).await;
    let text = format!("metrics: {{remote_write: {{url: '{}/w', protocol: {protocol}}}}}", server.url);
    let settings = Config::parse(&text, "agent.yaml").expect("valid").metrics.expect("present").remote_write;
    let (to, batches) = channel(1);
    let (tell, mut told) = channel(16);
    tokio::spawn(Courier::new(&settings[0]).run(batches, tell));
    to.send(batch()).await.expect("a courier");
    let mut hindered = 0;
    let settled = loop {
        match told.recv().await.expect("told") {
            Told::Hindered(_) => hindered += 1,
            Told::Settled(settled) => break settled,
        }
    };
    let mut heads = Vec::new();
    for _ in answers {
        heads.push(server.request().await.head);
    }
    (settled, hindered, heads)
}

const WROTE: &str = "204 No Content\r\nX-Prometheus-Remote-Write-Samples-Written: ";

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_of_2_0_gets_2_0_and_one_of_1_0_gets_1_0_after_one_attempt() {
    let (ended, _, heads) = settled(&[&format!("{WROTE}4")], "auto").await;
    assert_eq!(ended, Settled { written: 4, version: Some(Version::V2), ..Settled::default() });
    for part in [
        "post /w http/1.1\r\n",
        "content-type: application/x-protobuf;proto=io.prometheus.write.v2.request\r\n",
        "content-encoding: snappy\r\n",
        "x-prometheus-remote-write-version: 2.0.0\r\n",
        "user-agent: hostwright-agent/",
    ] {
        assert!(heads[0].contains(part), "{part} is not in {}", heads[0]);
    }
    for first in ["415 Unsupported Media Type", "204 No Content\r\nx: y", "400 Bad Request"] {
        let (ended, hindered, heads) = settled(&[first, "204 No Content\r\nx: y"], "auto").await;
        assert_eq!((ended.written, ended.version, hindered), (4, Some(Version::V1), 0), "{first}");
        assert!(heads[1].contains("content-type: application/x-protobuf\r\n"), "{}", heads[1]);
        assert!(heads[1].contains("x-prometheus-remote-write-version: 0.1.0\r\n"), "{}", heads[1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_is_waited_out_and_what_is_refused_for_good_is_given_up_and_told() {
    let (ended, hindered, _) = settled(&["503 Service Unavailable", "429 Too Many Requests", "200 OK"], "1.0").await;
    assert_eq!((ended.written, ended.refused, hindered), (4, 0, 2));
    let (ended, hindered, _) = settled(&["400 Bad Request\r\n\r\nout of order"], "1.0").await;
    assert_eq!((ended.written, ended.refused, hindered), (0, 4, 0));
    assert!(ended.why.is_some_and(|why| why.contains("answered 400 Bad Request: out of order")));
    let partly = "400 Bad Request\r\nX-Prometheus-Remote-Write-Samples-Written: 3\r\n\r\none is too old";
    let (ended, _, _) = settled(&[partly], "2.0").await;
    assert_eq!((ended.written, ended.refused), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_asks_to_wait_is_given_that_time() {
    let began = std::time::Instant::now();
    let (ended, hindered, _) = settled(&["429 Too Many Requests\r\nretry-after: 2", "200 OK"], "1.0").await;
    assert_eq!((ended.written, hindered), (4, 1));
    assert!(began.elapsed().as_secs() >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_at_once_is_halved_and_the_bound_is_told() {
    let too_much = "413 Payload Too Large";
    let (ended, _, _) = settled(&[too_much, too_much, "200 OK", "200 OK", "200 OK"], "1.0").await;
    assert_eq!((ended.written, ended.refused, ended.most), (4, 0, Some(1)));
    let (ended, _, _) = settled(&[too_much, too_much, too_much, "200 OK", "200 OK"], "1.0").await;
    assert_eq!((ended.written, ended.refused), (3, 1));
}
