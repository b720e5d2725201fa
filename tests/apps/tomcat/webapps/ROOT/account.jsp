<%@ page contentType="application/json" session="false" %>{"address": "<%= request.getRemoteAddr() %>"}
