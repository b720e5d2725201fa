# Nothing here depends on the scheme.
run lambda { |env|
  case env['PATH_INFO']
  when '/' then [200, { 'Content-Type' => 'text/html' }, ['<!doctype html><title>Clock</title><a href="/time">time</a>']]
  when '/time' then [200, { 'Content-Type' => 'text/plain' }, ['noon']]
  else [404, { 'Content-Type' => 'text/plain' }, ['not found']]
  end
}
