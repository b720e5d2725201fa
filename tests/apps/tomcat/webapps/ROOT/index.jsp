<%@ page session="false" %><% String base = request.getScheme() + "://" + request.getHeader("Host"); %>
<!doctype html>
<title>Shop</title>
<link rel="stylesheet" href="<%= base %>/shop.css">
<a href="/login">Sign in</a>
