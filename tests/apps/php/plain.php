<?php
// Nothing here depends on the scheme.
switch (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)) {
    case '/':
        echo '<!doctype html><title>Clock</title><a href="/time">time</a>';
        break;
    case '/time':
        header('Content-Type: text/plain');
        echo 'noon';
        break;
    default:
        http_response_code(404);
}
