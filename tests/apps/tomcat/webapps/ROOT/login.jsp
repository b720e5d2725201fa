<%
  String base = request.getScheme() + "://" + request.getHeader("Host");
  session.setAttribute("user", "ada");
  response.sendRedirect(base + "/account.jsp");
%>
