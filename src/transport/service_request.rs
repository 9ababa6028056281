//! Requests of services: checked by their signature before the body is read, and answered as their API says.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};

use super::public::Public;
use super::request_body::RequestBody;
use super::request_refused::RequestRefused;
use super::{routes, short_request};
use crate::http::Query;
use crate::protocol::ServiceRefused;
use crate::session;

/// Answers the request. `rest`: what is variable in its path.
pub async fn answer(
    public: &Public,
    request: &Request<()>,
    body: RequestBody,
    rest: &str,
) -> Result<Response<Full<Bytes>>, RequestRefused> {
    if public.apps.is_empty() {
        return Err(RequestRefused::no_apps());
    }
    let query = Query::new(request.uri().query());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let method = request.method().as_str();
    let signed = match routes::check_signed(&public.apps, method, rest, query, now) {
        Ok(signed) => signed,
        Err(refused) => return Ok(refusal(&refused)),
    };
    let bytes_max = public.context.config.message_bytes_max;
    let body = short_request::read(public, body, signed.body_bytes_max(bytes_max)).await?;
    let answered = match signed.read(&body, bytes_max) {
        Ok(call) => session::answer_service(&public.context, call.command)
            .await
            .map(|reply| (call.answer)(&reply)),
        Err(refused) => Err(refused),
    };
    Ok(match answered {
        Ok(body) => short_request::json(StatusCode::OK, body.into()),
        Err(refused) => refusal(&refused),
    })
}

/// The reason as a text, as the API's clients expect it. The connection ends where a body may be unread.
fn refusal(refused: &ServiceRefused) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = short_request::json(status, format!("{}\n", refused.message).into());
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}
