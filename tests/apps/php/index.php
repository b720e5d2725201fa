<?php
// A small shop as many PHP programs are written: is_ssl() asks $_SERVER and everything absolute asks is_ssl().
// doctor: here

function is_ssl(): bool
{
    return ($_SERVER['HTTPS'] ?? 'off') !== 'off' || ($_SERVER['SERVER_PORT'] ?? '') === '443';
}

function base_url(): string
{
    return (is_ssl() ? 'https' : 'http') . '://' . $_SERVER['HTTP_HOST'];
}

switch (parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)) {
    case '/':
        echo '<!doctype html><title>Shop</title><link rel="stylesheet" href="' . htmlspecialchars(base_url()) .
            '/shop.css"><a href="/login">Sign in</a>';
        break;
    case '/shop.css':
        header('Content-Type: text/css');
        echo 'h1 { color: teal }';
        break;
    case '/login':
        // doctor: cookie
        session_start();
        $_SESSION['user'] = 'ada';
        header('Location: ' . base_url() . '/account');
        break;
    case '/account':
        header('Content-Type: application/json');
        echo json_encode(['address' => $_SERVER['REMOTE_ADDR']]);
        break;
    default:
        http_response_code(404);
        echo 'not found';
}
